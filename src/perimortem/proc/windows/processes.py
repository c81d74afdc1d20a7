"""Every process, with its names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

assert sys.platform == "win32"

from perimortem.winapi.system_processes import forget_processes, list_processes_now

_DEPTH_MAX = 64


def list_processes() -> Iterator[tuple[int, set[str]]]:
    """(pid, names): its program's file name, with .exe and without."""
    forget_processes()
    for entry in list_processes_now().values():
        stem = entry.name[:-4] if entry.name.lower().endswith(".exe") else entry.name
        yield entry.pid, {entry.name, stem}


def list_ancestors() -> set[int]:
    """Ourselves, our parent, and so on."""
    entries = list_processes_now()
    pid, found = os.getpid(), set[int]()
    born = entries[pid].create_time if pid in entries else 0
    while pid in entries and pid not in found and len(found) < _DEPTH_MAX:
        if entries[pid].create_time > born:
            break  # the parent is gone, and its pid was reused
        found.add(pid)
        born = entries[pid].create_time
        pid = entries[pid].parent_pid
    return found
