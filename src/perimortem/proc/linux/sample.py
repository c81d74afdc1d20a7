"""One sample of a process, from outside: does the kernel let it run, and how large is it?"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

assert sys.platform == "linux"

from perimortem.model.process import ProcessRef
from perimortem.proc.linux.cgroup import is_frozen
from perimortem.procfs.stat import read_stat
from perimortem.procfs.threads import list_threads

_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")
_STOPPED = ("T", "t")

SOURCE = "/proc"
"""The source of outside observations, in the evidence."""


@dataclass(frozen=True)
class Sample:
    """``stats``: payload of the event ``system.stats``. ``is_held``: stopped or frozen as a whole."""

    is_held: bool
    tids: frozenset[int]
    stats: dict[str, int | float | None]


def take_sample(process: ProcessRef) -> Sample | None:
    """None if it is gone, or has ended and was not reaped yet."""
    facts = read_stat(process.pid)
    if facts is None or facts.start_time_ticks != process.start_time_ticks:
        return None
    if facts.is_dead:
        return None
    stats = {
        "rss_bytes": facts.resident_pages * _PAGE_BYTES,
        "cpu_s": round(facts.cpu_ticks / _TICKS_PER_S, 2),
        "threads": facts.thread_count,
        "fds": _count_descriptors(process.pid),
    }
    is_held = facts.state in _STOPPED or is_frozen(f"/proc/{process.pid}", facts.state)
    return Sample(is_held, frozenset(list_threads(process.pid)), stats)


def is_stopped(process: ProcessRef) -> bool:
    """By a signal; not by a debugger."""
    facts = read_stat(process.pid)
    is_same = facts is not None and facts.start_time_ticks == process.start_time_ticks
    return is_same and facts is not None and facts.state == "T"


def _count_descriptors(pid: int) -> int | None:
    try:
        # Since Linux 6.2 the size of the directory is the number of its entries.
        return os.stat(f"/proc/{pid}/fd").st_size or len(os.listdir(f"/proc/{pid}/fd"))
    except OSError:
        return None


_STATES = {
    "T": "it was stopped by a signal (SIGSTOP or SIGTSTP; SIGCONT lets it run on)",
    "t": "it was held by a debugger",
    "D": "its main thread was in an uninterruptible wait (disk, network file system, vfork)",
    "R": "its main thread was running or ready to run",
    "S": "its main thread was waiting",
    "Z": "its main thread had exited; other threads were still running",
}


def describe_state(process: ProcessRef) -> str | None:
    """What its main thread is doing, according to the kernel; None if it is gone."""
    facts = read_stat(process.pid)
    if facts is None or facts.start_time_ticks != process.start_time_ticks:
        return None
    return _STATES.get(facts.state)
