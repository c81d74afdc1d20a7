"""Sources of heartbeats that there are on Linux only."""
