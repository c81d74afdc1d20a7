"""Threads have other numbers in the pid namespace of their process."""

from __future__ import annotations

import sys
from collections.abc import Iterable

assert sys.platform == "linux"

from perimortem.procfs.status import read_status


def local_tids(pid: int, tids: Iterable[int]) -> dict[int, int]:
    """Threads (tids) by the numbers that they have in the pid namespace of their process."""
    found = {}
    for tid in tids:
        status = read_status(pid, tid)
        found[status.numbers[-1] if status is not None and status.numbers else tid] = tid
    return found
