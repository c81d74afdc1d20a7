"""Every process there is, by its names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

assert sys.platform == "win32"

from perimortem.winapi.toolhelp import list_process_entries

_DEPTH_MAX = 64


def list_processes() -> Iterator[tuple[int, set[str]]]:
    """(pid, names): its program's file name, with .exe and without."""
    for entry in list_process_entries():
        stem = entry.name[:-4] if entry.name.lower().endswith(".exe") else entry.name
        yield entry.pid, {entry.name, stem}


def list_ancestors() -> set[int]:
    """Ourselves, our parent, and so on."""
    parent_of = {entry.pid: entry.parent_pid for entry in list_process_entries()}
    pid, found = os.getpid(), set[int]()
    while pid and pid not in found and len(found) < _DEPTH_MAX:
        found.add(pid)
        pid = parent_of.get(pid, 0)
    return found
