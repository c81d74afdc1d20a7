"""Who waits for whom, on Windows: not yet."""
