"""The container of a process."""

from __future__ import annotations

import sys

assert sys.platform == "win32"


def find_container(pid: int) -> str | None:
    """Not known on Windows."""
    return None
