"""Heartbeat sources that exist on Windows only."""
