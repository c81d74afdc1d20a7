"""Dumps on Windows: DbgHelp writes them, from a snapshot where there is one."""
