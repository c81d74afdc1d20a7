"""The sources of Linux that tell how a process ended."""
