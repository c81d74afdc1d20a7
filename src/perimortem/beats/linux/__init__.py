"""Heartbeat sources that exist on Linux only."""
