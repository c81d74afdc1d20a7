"""Capture on Linux: ptrace for the stop and the registers, /proc for everything else.

Every module here needs only the standard library: the dump worker starts without site-packages.
"""
