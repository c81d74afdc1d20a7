"""The flight recorder's file: its layout, and the monitor's side of it (read and locate).

The target's side, which writes it, is the C library in ``native/``.
"""
