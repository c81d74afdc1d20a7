"""One sample of a process, from outside: can it run at all, and how large is it?"""

from __future__ import annotations

import sys
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.model.process import ProcessRef
from perimortem.proc.windows.stat import read_stat
from perimortem.winapi.process import read_suspend_count
from perimortem.winapi.system_processes import (
    ThreadEntry,
    forget_processes,
    list_processes_now,
)

SOURCE = "list of processes"
"""The source of outside observations, in the evidence."""


@dataclass(frozen=True)
class Sample:
    """``stats``: payload of the event ``system.stats``. ``is_held``: all its threads are suspended."""

    is_held: bool
    tids: frozenset[int]
    stats: dict[str, int | float | None]


def take_sample(process: ProcessRef) -> Sample | None:
    """None if it is gone, or has just ended."""
    entry = list_processes_now().get(process.pid)
    if entry is None or entry.create_time != process.start_time_ticks or not entry.threads:
        return None
    is_held = all(_is_suspended(thread) for thread in entry.threads)
    if not is_held and _has_ended(process):
        return None  # its threads ended while they were suspended
    return Sample(
        is_held=is_held,
        tids=frozenset(thread.tid for thread in entry.threads),
        stats={
            "rss_bytes": entry.working_set_bytes,
            "cpu_s": round((entry.kernel_time + entry.user_time) / 1e7, 2),
            "threads": len(entry.threads),
            "handles": entry.handle_count,
        },
    )


def is_stopped(process: ProcessRef) -> bool:
    """All its threads are suspended, now."""
    forget_processes()
    sample = take_sample(process)
    return sample is not None and sample.is_held


def describe_state(process: ProcessRef) -> str | None:
    """What it is doing, according to the system; None if it is gone or there is nothing to say."""
    return "all its threads were suspended" if is_stopped(process) else None


def _has_ended(process: ProcessRef) -> bool:
    stat = read_stat(process.pid)
    return stat is None or stat.is_dead


def _is_suspended(thread: ThreadEntry) -> bool:
    """Wine reports no states: there each thread is queried."""
    return thread.is_suspended if thread.state else read_suspend_count(thread.tid) > 0
