"""Heartbeats of programs that have none of their own: seen from outside, said by other protocols.

``source.BeatSource`` is what the monitor asks; each other file is one source.
"""
