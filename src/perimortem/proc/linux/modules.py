"""The files that a process has mapped. Reading them waits for the lock of its memory."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.binary.proc_maps import iterate_maps
from perimortem.procfs.file import read_file
from perimortem.text import printable


def find_module(pid: int, address: int) -> tuple[str, int] | None:
    """(path, offset from its start); None for memory without a file."""
    path, begins = "", 0
    for region in iterate_maps(read_file(f"/proc/{pid}/maps")):
        is_file = region.path.startswith("/")
        if is_file and region.path != path:
            path, begins = region.path, region.start
        if region.start <= address < region.end:
            return (printable(path), address - begins) if is_file else None
    return None


def maps_file(pid: int, inode: int, part: str) -> bool:
    """Has it mapped this file, with ``part`` in its path? True if that cannot be read."""
    regions = tuple(iterate_maps(read_file(f"/proc/{pid}/maps")))
    return not regions or any(r.inode == inode and part in r.path for r in regions)
