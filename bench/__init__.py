"""Ratios against peers, measured side by side in one run: ``make bench``.

Absolute times differ from machine to machine and from minute to minute; only lines that this prints
may be quoted in README.md and docs/performance.md.
"""
