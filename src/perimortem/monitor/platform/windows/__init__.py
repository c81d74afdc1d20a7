"""A watched command on Windows: its console, its job."""
