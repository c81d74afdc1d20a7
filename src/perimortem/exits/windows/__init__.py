"""The Windows sources that report how a process ended."""
