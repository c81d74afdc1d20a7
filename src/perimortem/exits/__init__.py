"""How processes end: statuses to words, and the sources that tell of an end.

``decode`` and its tables are pure; ``sources`` are those of this system. How to add a source is in
CONTRIBUTING.md.
"""
