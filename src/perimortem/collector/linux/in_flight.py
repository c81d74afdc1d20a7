"""Processes that are dumping core: each has a helper, or gets one at any moment."""

from __future__ import annotations

import sys
import time
from pathlib import Path

assert sys.platform == "linux"

from perimortem.procfs.stat import read_stat
from perimortem.procfs.status import read_status

_POLL_S = 0.02


def await_helpers(seconds: float) -> None:
    """Until no process is dumping core that is doing so now, or for ``seconds``.

    A process is marked before the kernel reads core_pattern: after a change of it, processes that are
    not found here get what it says now."""
    deadline = time.monotonic() + seconds
    waiting = _list_dumping()
    while waiting and time.monotonic() < deadline:
        time.sleep(_POLL_S)
        waiting &= _list_dumping()


def _list_dumping() -> set[tuple[int, int]]:
    """Each as (pid, start time)."""
    found = set()
    for entry in Path("/proc").iterdir():
        if entry.name.isdecimal():
            status = read_status(int(entry.name))
            stat = read_stat(int(entry.name)) if status and status.is_dumping_core else None
            if stat is not None:
                found.add((int(entry.name), stat.start_time_ticks))
    return found
