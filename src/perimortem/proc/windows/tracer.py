"""The tracer of a process: unknown on Windows."""

from __future__ import annotations

import sys

assert sys.platform == "win32"


def read_tracer(pid: int) -> int | None:
    """None."""
