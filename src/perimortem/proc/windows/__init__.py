"""Toolhelp, the process's own times, and its parameters from its own memory."""
