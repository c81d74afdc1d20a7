"""Every process, with its names."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

assert sys.platform == "linux"


def list_processes() -> Iterator[tuple[int, set[str]]]:
    """(pid, names): what it calls itself, and the name of its program file."""
    import psutil  # costs 20 ms

    for process in psutil.process_iter(["name", "exe"]):
        names = {process.info["name"], os.path.basename(process.info["exe"] or "")}
        yield process.pid, {name for name in names if name}


def list_ancestors() -> set[int]:
    """Ourselves, our parent, and so on."""
    import psutil

    return {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
