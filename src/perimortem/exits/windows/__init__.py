"""The sources of Windows that tell how a process ended."""
