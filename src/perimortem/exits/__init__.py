"""How processes end: decoding of statuses, and the sources that report an end.

``decode`` and its tables are pure; ``sources`` are those of this system. How to add a source is in
CONTRIBUTING.md.
"""
