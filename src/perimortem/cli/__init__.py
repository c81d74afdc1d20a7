"""The command line: options in, accounts out. Every command takes ``--json``."""
