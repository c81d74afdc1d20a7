"""From addresses to names: the files of modules, their symbols, their lines. Input of the analysis."""
