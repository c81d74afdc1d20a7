"""Dumps on Windows: DbgHelp writes them, from a snapshot if possible."""
