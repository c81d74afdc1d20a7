"""Children of processes, by Toolhelp."""

from __future__ import annotations

import sys
from collections.abc import Iterable

assert sys.platform == "win32"

from perimortem.proc.windows.stat import read_stat
from perimortem.winapi.toolhelp import list_process_entries


def list_children(parents: Iterable[int]) -> list[tuple[int, int]]:
    """(parent, child). A child keeps the pid of a dead parent, which may be another's by now: who is
    older than his parent is no child of it."""
    wanted = set(parents)
    found = []
    for entry in list_process_entries() if wanted else ():
        if entry.parent_pid in wanted and entry.pid != entry.parent_pid:
            child, parent = read_stat(entry.pid), read_stat(entry.parent_pid)
            if child and parent and child.start_time_ticks >= parent.start_time_ticks:
                found.append((entry.parent_pid, entry.pid))
    return found
