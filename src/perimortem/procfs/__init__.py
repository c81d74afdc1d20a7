"""Files of /proc, read and parsed in one place. Linux only; ``proc`` and ``capture`` say what they mean.

Small: dump workers start while a process crashes.
"""
