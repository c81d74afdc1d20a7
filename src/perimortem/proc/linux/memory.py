"""How much memory a process has, before a dump of it is begun."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.procfs.status import read_status

_MARGIN_BYTES = 8 << 20
_MINI_MAX_BYTES = 104 << 20
"""The memory chosen for a mini dump has its own limit (capture.linux.choose_memory)."""


def estimate_dump_bytes(pid: int, *, is_full: bool) -> int:
    """The approximate size of a full dump; for a mini dump, a bound that most stay far below."""
    status = read_status(pid)
    if status is None:
        return _MINI_MAX_BYTES
    held = status.held_bytes
    return held + _MARGIN_BYTES if is_full else min(2 * held + _MARGIN_BYTES, _MINI_MAX_BYTES)
