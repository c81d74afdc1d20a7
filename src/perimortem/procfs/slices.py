"""How often a thread has been scheduled: equal counts mean that it has not run in between."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.procfs.file import read_record
from perimortem.procfs.status import find_field

_SWITCHES = ("voluntary_ctxt_switches", "nonvoluntary_ctxt_switches")


def read_slices(pid: int, tid: int) -> int | None:
    """None if it is not known: the thread is gone, or nothing counts them."""
    return parse_slices(read_record(f"/proc/{pid}/task/{tid}/schedstat"), pid, tid)


def parse_slices(schedstat: bytes, pid: int, tid: int) -> int | None:
    """The same, with its schedstat read already: run time, waiting time, timeslices.

    A kernel that does not count them (CONFIG_SCHED_INFO) has zeros there, or no file."""
    words = schedstat.split()
    if len(words) >= 3 and words[2].isdigit() and int(words[2]):
        return int(words[2])
    status = read_record(f"/proc/{pid}/task/{tid}/status")
    counts = [find_field(status, name) or "" for name in _SWITCHES]
    return sum(map(int, counts)) if all(count.isdecimal() for count in counts) else None
