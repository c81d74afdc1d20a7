"""A dump or a live process, taken apart: whoever is asked for images, names, lines and Python frames is
brought together here with the pure analysis."""

from __future__ import annotations

import sys

if sys.platform == "win32":
    from perimortem.examine.windows.live import NEEDS_DUMP, examine_process
else:
    from perimortem.examine.linux.live import NEEDS_DUMP, examine_process

__all__ = ["NEEDS_DUMP", "examine_process"]
