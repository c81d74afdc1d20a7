"""What runtimes know of waits, on Windows: nothing is read there yet."""
