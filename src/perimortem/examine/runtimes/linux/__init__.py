"""What runtimes know of waits, on Linux."""
