"""Has any thread of a process run since the last sample?"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass
from types import MappingProxyType

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


def read_activity(pid: int, known: Mapping[int, int] = MappingProxyType({})) -> Activity | None:
    """CPU time and timeslices of every thread; None if it is gone.

    ``known``: the slices of threads that are not the agent's, as last read."""
    run_ns = 0
    slices = {}
    for tid in list_threads(pid):
        base = f"/proc/{pid}/task/{tid}"
        ran = read_record(f"{base}/schedstat")  # run time, wait time, timeslices
        count = parse_slices(ran, pid, tid) or 0
        has_run = known.get(tid) != count
        if has_run and tid != pid and read_record(f"{base}/comm") == AGENT_THREAD:
            continue
        slices[tid] = count
        first = ran.partition(b" ")[0]
        if first.isdigit():
            run_ns += int(first)
    return Activity(run_ns, slices) if slices else None
