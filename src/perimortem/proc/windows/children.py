"""Children of processes."""

from __future__ import annotations

import sys
from collections.abc import Iterable

assert sys.platform == "win32"

from perimortem.winapi.system_processes import list_processes_now


def list_children(parents: Iterable[int]) -> list[tuple[int, int]]:
    """(parent, child). A child keeps the pid of a dead parent, which may have been reused: a process
    older than its parent is not its child. Nor is a clone without threads, which a dump is taken of."""
    entries = list_processes_now()
    wanted = {pid: entries[pid].create_time for pid in parents if pid in entries}
    return [
        (entry.parent_pid, entry.pid)
        for entry in entries.values()
        if entry.threads
        and entry.pid != entry.parent_pid
        and entry.create_time >= wanted.get(entry.parent_pid, entry.create_time + 1)
    ]


def find_newest_pid() -> int | None:
    """Windows does not say that."""
    return None
