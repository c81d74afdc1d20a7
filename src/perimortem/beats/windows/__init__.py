"""Sources of heartbeats that there are on Windows only."""
