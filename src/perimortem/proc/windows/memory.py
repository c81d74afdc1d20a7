"""How much memory a process has, before a dump of it is begun."""

from __future__ import annotations

import ctypes
import sys

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.process import estimate_memory

_MARGIN_BYTES = 16 << 20
_MINI_MAX_BYTES = 256 << 20


def estimate_dump_bytes(pid: int, *, is_full: bool) -> int:
    """An upper bound that most dumps stay far below."""
    rights = kernel32.PROCESS_QUERY_INFORMATION | kernel32.PROCESS_VM_READ
    with kernel32.open_process(rights, pid) as handle:
        if not handle:
            return _MINI_MAX_BYTES
        if is_full:
            return estimate_memory(handle) + _MARGIN_BYTES
        counters = kernel32.PROCESS_MEMORY_COUNTERS()
        size = ctypes.sizeof(counters)
        if not kernel32.GetProcessMemoryInfo(handle, ctypes.byref(counters), size):
            return _MINI_MAX_BYTES
        return min(2 * int(counters.WorkingSetSize) + _MARGIN_BYTES, _MINI_MAX_BYTES)
