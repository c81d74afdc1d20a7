"""Examine a dump or a live process: combines the sources of images, names, lines and Python frames
with the pure analysis."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.examine.windows.live import NEEDS_DUMP, capture_process
    from perimortem.examine.windows.python_waits import add_python_locks, add_python_places
else:
    from perimortem.examine.linux.live import NEEDS_DUMP, capture_process
    from perimortem.examine.linux.python_waits import add_python_locks, add_python_places

__all__ = ["NEEDS_DUMP", "add_python_locks", "add_python_places", "capture_process"]
