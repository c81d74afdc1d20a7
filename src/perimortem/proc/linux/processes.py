"""Every process, with its names: what the kernel knows, and nothing from their memory."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress

assert sys.platform == "linux"

from perimortem.procfs.stat import read_stat

_DEPTH_MAX = 64


def list_processes() -> Iterator[tuple[int, set[str]]]:
    """(pid, names): what it calls itself (15 bytes at most), and the name of its program file."""
    for pid in [int(name) for name in os.listdir("/proc") if name.isdecimal()]:
        facts = read_stat(pid)
        if facts is None:
            continue
        names = {facts.name}
        with suppress(OSError):
            names.add(os.path.basename(os.readlink(f"/proc/{pid}/exe").removesuffix(" (deleted)")))
        yield pid, {name for name in names if name}


def list_ancestors() -> set[int]:
    """Ourselves, our parent, and so on."""
    pid, found = os.getpid(), set[int]()
    while pid > 0 and pid not in found and len(found) < _DEPTH_MAX:
        found.add(pid)
        facts = read_stat(pid)
        pid = facts.parent_pid if facts is not None else 0
    return found
