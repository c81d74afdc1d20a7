"""From addresses to names: the files of modules, their symbols, their lines. What analysis is handed."""
