"""Has any thread of a process run since the last look?"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.process import read_times


@dataclass(frozen=True)
class Activity:
    """Counters over all threads; equal ones mean that none of them ran in between."""

    cpu_100ns: int
    cycles: int
    io_operations: int


def read_activity(pid: int) -> Activity | None:
    """CPU time, processor cycles and I/O; None when it is gone.

    An agent's own thread counts as well: beside it, progress is what the program's heartbeats say."""
    with kernel32.open_process(kernel32.PROCESS_QUERY_LIMITED_INFORMATION, pid) as handle:
        times = read_times(handle) if handle else None
        if not handle or times is None:
            return None
        cycles = kernel32.ULONGLONG()
        kernel32.QueryProcessCycleTime(handle, ctypes.byref(cycles))
        io = kernel32.IO_COUNTERS()
        kernel32.GetProcessIoCounters(handle, ctypes.byref(io))
        operations = io.ReadOperationCount + io.WriteOperationCount + io.OtherOperationCount
        return Activity(times.kernel + times.user, cycles.value, operations)
