"""Toolhelp, the process's own times, and its parameters as it keeps them itself."""
