"""Examine a dump or a live process: combines the sources of images, names, lines and Python frames
with the pure analysis."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.examine.windows.live import NEEDS_DUMP, capture_process
else:
    from perimortem.examine.linux.live import NEEDS_DUMP, capture_process

__all__ = ["NEEDS_DUMP", "capture_process"]
