"""How much memory a process has, before a dump of it is begun."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

_MARGIN_BYTES = 8 << 20
_MINI_MAX_BYTES = 104 << 20
"""The memory chosen for a mini dump has its own limit (capture.linux.choose_memory)."""


def estimate_dump_bytes(pid: int, *, is_full: bool) -> int:
    """The approximate size of a full dump; for a mini dump, a bound that most stay far below."""
    sizes = {"VmRSS": 0, "VmSwap": 0}
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            for line in file:
                name, _, value = line.partition(":")
                if name in sizes:
                    sizes[name] = int(value.split()[0]) << 10
    except (OSError, ValueError, IndexError):
        return _MINI_MAX_BYTES
    held = sum(sizes.values())  # untouched mapped memory occupies no space
    return held + _MARGIN_BYTES if is_full else min(2 * held + _MARGIN_BYTES, _MINI_MAX_BYTES)
