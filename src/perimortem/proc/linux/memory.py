"""How much memory a process has, before a dump of it is begun."""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_MARGIN_BYTES = 8 << 20
_MINI_MAX_BYTES = 104 << 20
"""What a mini dump chooses has a bound of its own (capture.linux.select_memory)."""


def estimate_dump_bytes(pid: int, *, is_full: bool) -> int:
    """An upper bound that most dumps stay far below."""
    try:
        with open(f"/proc/{pid}/statm", encoding="ascii") as file:
            mapped, resident = (int(word) * _PAGE_BYTES for word in file.read().split()[:2])
    except (OSError, ValueError):
        return _MINI_MAX_BYTES
    if is_full:
        return mapped + _MARGIN_BYTES
    return min(2 * resident + _MARGIN_BYTES, _MINI_MAX_BYTES)
