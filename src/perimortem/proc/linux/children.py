"""Children of processes (/proc/PID/task/TID/children, CONFIG_PROC_CHILDREN), and whether any are new."""

from __future__ import annotations

import sys
from collections.abc import Iterable

assert sys.platform == "linux"

from perimortem.procfs.file import read_text
from perimortem.procfs.threads import list_threads

_THREADS_MAX = 256
"""A process with more threads is queried for the children of this many only."""


def find_newest_pid() -> int | None:
    """Of the thread or process that was created last; as long as it stays, there is no new one.

    None if the system does not say that."""
    words = read_text("/proc/loadavg").split()
    return int(words[4]) if len(words) > 4 and words[4].isdecimal() else None


def list_children(parents: Iterable[int]) -> list[tuple[int, int]]:
    """(parent, child) for the living and unreaped children of these processes."""
    return [(parent, child) for parent in parents for child in _list_children_of(parent)]


def _list_children_of(pid: int) -> list[int]:
    """Children of all its threads; empty if the process is gone."""
    found: list[int] = []
    for tid in list_threads(pid)[:_THREADS_MAX]:
        try:
            with open(f"/proc/{pid}/task/{tid}/children", "rb", buffering=0) as file:
                found += [int(word) for word in file.read(1 << 20).split()]
        except (OSError, ValueError):
            continue
    return found
