"""Has any thread of a process run since the last sample?"""

from __future__ import annotations

import sys
from dataclasses import dataclass

assert sys.platform == "linux"

from perimortem.procfs.file import read_record
from perimortem.procfs.slices import parse_slices
from perimortem.procfs.threads import list_threads

AGENT_THREAD = b"perimortem\n"
"""The agent's own thread runs once a second, independently of the program: it does not count."""


@dataclass(frozen=True)
class Activity:
    """Counters over all threads; equal ones mean that none of them ran in between."""

    run_ns: int
    slices: dict[int, int]
    """By thread (tid): how often it has been scheduled."""
    io_bytes: int


def read_activity(pid: int) -> Activity | None:
    """CPU time and context switches of every thread, and the I/O of the process; None if gone."""
    run_ns = 0
    slices = {}
    has_agent_thread = False
    for tid in list_threads(pid):
        base = f"/proc/{pid}/task/{tid}"
        ran = read_record(f"{base}/schedstat").split()  # run time, wait time, timeslices
        if tid != pid and read_record(f"{base}/comm") == AGENT_THREAD:
            has_agent_thread = True
            continue
        slices[tid] = parse_slices(b" ".join(ran), pid, tid) or 0
        if ran and ran[0].isdigit():
            run_ns += int(ran[0])
    if not slices:
        return None
    return Activity(run_ns, slices, 0 if has_agent_thread else _read_io(pid))


def _read_io(pid: int) -> int:
    """Bytes read and written by any system call; 0 if not permitted."""
    total = 0
    for line in read_record(f"/proc/{pid}/io").splitlines():
        name, _, value = line.partition(b":")
        if name in (b"rchar", b"wchar") and value.strip().isdigit():
            total += int(value)
    return total
