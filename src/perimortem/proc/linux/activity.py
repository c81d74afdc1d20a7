"""Has any thread of a process run since the last sample?"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

assert sys.platform == "linux"

from perimortem.procfs.file import read_record
from perimortem.procfs.slices import parse_slices
from perimortem.procfs.threads import list_threads

_SYS_FUTEX = {"x86_64": b"202", "aarch64": b"98"}.get(os.uname().machine, b"")
_RUNNING = b"running\n"
AGENT_THREAD = b"perimortem\n"
"""The agent's own thread runs once a second, independently of the program: it does not count."""


@dataclass(frozen=True)
class Activity:
    """Counters over all threads; equal ones mean that none of them ran in between."""

    slices: dict[int, int]
    """By thread (tid): how often it has been scheduled."""
    run_ns: dict[int, int]
    """Likewise: for how long it has run."""


def read_activity(pid: int, known: Mapping[int, int] = MappingProxyType({})) -> Activity | None:
    """CPU time and timeslices of every thread; None if it is gone.

    ``known``: the slices of threads that are not the agent's, as last read."""
    slices = {}
    run_ns = {}
    for tid in list_threads(pid):
        base = f"/proc/{pid}/task/{tid}"
        ran = read_record(f"{base}/schedstat")  # run time, wait time, timeslices
        count = parse_slices(ran, pid, tid) or 0
        has_run = known.get(tid) != count
        if has_run and tid != pid and read_record(f"{base}/comm") == AGENT_THREAD:
            continue
        slices[tid] = count
        first = ran.partition(b" ")[0]
        run_ns[tid] = int(first) if first.isdigit() else 0
    return Activity(slices, run_ns) if slices else None


def read_retry(pid: int, tid: int) -> bytes | None:
    """The call in which a thread waits for a limited time for another one, as the kernel shows it; empty
    if it does something else.

    Some locks are waited for like this, again and again: Python's GIL, the monitors of Java. As long as
    that goes on, this stays equal, with its stack pointer."""
    record = read_record(f"/proc/{pid}/task/{tid}/syscall")
    if record == _RUNNING:
        return None
    words = record.split(b" ", 5)
    is_futex = len(words) > 5 and words[0] == _SYS_FUTEX
    return record if is_futex and words[4] != b"0x0" else b""
