"""A command under watch on Windows: its console, its job."""
