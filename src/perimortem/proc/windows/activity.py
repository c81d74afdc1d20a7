"""Has any thread of a process run since the last sample?"""

from __future__ import annotations

import sys
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.winapi.system_processes import list_processes_now


@dataclass(frozen=True)
class Activity:
    """Counters over all threads; equal ones mean that none of them ran in between."""

    cpu_100ns: int
    context_switches: int
    io_operations: int

    @property
    def slices(self) -> dict[int, int]:
        """By thread (tid): not counted here."""
        return {}

    @property
    def run_ns(self) -> dict[int, int]:
        """Likewise."""
        return {}


def read_activity(pid: int, last: Activity | None = None) -> Activity | None:
    """CPU time, context switches of every thread, and I/O; None if it is gone.

    An agent's own thread counts as well: beside it, progress is what the program's heartbeats say."""
    del last
    entry = list_processes_now().get(pid)
    if entry is None:
        return None
    return Activity(
        cpu_100ns=entry.kernel_time + entry.user_time,
        context_switches=sum(thread.context_switches for thread in entry.threads),
        io_operations=entry.io_operations,
    )


def read_retry(pid: int, tid: int) -> bytes | None:
    """The wait of a thread that waits again and again: not known here."""
    del pid, tid
    return b""
