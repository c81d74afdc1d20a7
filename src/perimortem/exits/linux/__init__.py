"""The Linux sources that report how a process ended."""
