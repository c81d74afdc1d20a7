"""A process at one look, from outside: does anything let it run, and how large is it?"""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.model.process import ProcessRef
from perimortem.winapi import kernel32
from perimortem.winapi.process import is_running, read_suspend_count, read_times
from perimortem.winapi.toolhelp import list_threads


@dataclass(frozen=True)
class Sample:
    """``stats``: what the event ``system.stats`` says. ``is_held``: all its threads are suspended."""

    is_held: bool
    tids: frozenset[int]
    stats: dict[str, int | float | None]


def take_sample(process: ProcessRef) -> Sample | None:
    """None when it is gone."""
    with kernel32.open_process(kernel32.PROCESS_QUERY_LIMITED_INFORMATION, process.pid) as handle:
        times = read_times(handle) if handle else None
        if not handle or times is None or times.created != process.start_time_ticks:
            return None
        if not is_running(handle):
            return None
        tids = list_threads(process.pid)
        return Sample(
            is_held=bool(tids) and all(read_suspend_count(tid) for tid in tids),
            tids=frozenset(tids),
            stats={
                "rss_bytes": _read_working_set(handle),
                "cpu_s": round((times.kernel + times.user) / 1e7, 2),
                "threads": len(tids),
                "handles": _count_handles(handle),
            },
        )


def is_stopped(process: ProcessRef) -> bool:
    """All its threads are suspended."""
    sample = take_sample(process)
    return sample is not None and sample.is_held


def describe_state(process: ProcessRef) -> str | None:
    """What the system says that it does, in words; None when it is gone or nothing is to be said."""
    return "all its threads were suspended" if is_stopped(process) else None


def _read_working_set(handle: int) -> int | None:
    counters = kernel32.PROCESS_MEMORY_COUNTERS()
    size = ctypes.sizeof(counters)
    if not kernel32.GetProcessMemoryInfo(handle, ctypes.byref(counters), size):
        return None
    return int(counters.WorkingSetSize)


def _count_handles(handle: int) -> int | None:
    count = kernel32.DWORD()
    if not kernel32.GetProcessHandleCount(handle, ctypes.byref(count)):
        return None
    return int(count.value)
