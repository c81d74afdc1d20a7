"""How processes end: statuses to words, and the sources that tell of an end.

``open_exit_watch`` is the platform seam; ``linux/`` holds the sources of Linux. How to add one is in
CONTRIBUTING.md.
"""
