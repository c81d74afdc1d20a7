"""Has any thread of a process run since the last sample?"""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

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
    records: dict[int, bytes]
    """Likewise: both, as the kernel wrote them (/proc/PID/task/TID/schedstat)."""


def read_activity(pid: int, last: Activity | None = None) -> Activity | None:
    """CPU time and timeslices of every thread, but for the agent's; None if it is gone.

    ``last``: what was read of it before, which is returned if no thread has run since."""
    if last is not None and _is_unchanged(pid, last):
        return last
    slices = {}
    run_ns = {}
    records = {}
    for tid in list_threads(pid):
        base = f"/proc/{pid}/task/{tid}"
        record = read_record(f"{base}/schedstat")
        count = parse_slices(record, pid, tid) or 0
        has_run = last is None or last.slices.get(tid) != count
        if has_run and tid != pid and read_record(f"{base}/comm") == AGENT_THREAD:
            continue
        slices[tid] = count
        first = record.partition(b" ")[0]
        run_ns[tid] = int(first) if first.isdigit() else 0
        if not record.startswith(b"0 "):  # else they are not counted
            records[tid] = record
    return Activity(slices, run_ns, records) if slices else None


def _is_unchanged(pid: int, last: Activity) -> bool:
    """Only a thread that runs can create another one."""
    return len(last.records) == len(last.slices) and all(
        read_record(f"/proc/{pid}/task/{tid}/schedstat") == record
        for tid, record in last.records.items()
    )


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
