"""The command line: options in, reports out. Every command takes ``--json``."""
