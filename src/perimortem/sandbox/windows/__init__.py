"""Windows: a job that limits memory and processor time."""
