"""Heartbeats of programs that have none: observed from outside, or by other protocols.

``source.BeatSource`` is the interface for the monitor; each other file is one source.
"""
