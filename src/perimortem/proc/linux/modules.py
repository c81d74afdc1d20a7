"""Which file contains an address of a process."""

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
