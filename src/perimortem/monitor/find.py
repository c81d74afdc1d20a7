"""Find processes by name, waiting for them if there are none."""

from __future__ import annotations

import fnmatch
import os
import time

import psutil

_POLL_S = 0.25


def find_processes(pattern: str) -> list[int]:
    """Pids whose name or program file name matches (fnmatch), without ourselves and our parents."""
    own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
    found = []
    for process in psutil.process_iter(["name", "exe"]):
        names = {process.info["name"] or "", os.path.basename(process.info["exe"] or "")}
        if process.pid not in own and any(fnmatch.fnmatchcase(n, pattern) for n in names if n):
            found.append(process.pid)
    return found


def await_processes(pattern: str) -> list[int]:
    """The same, waiting until there is one (Ctrl-C ends the wait)."""
    while not (found := find_processes(pattern)):
        time.sleep(_POLL_S)
    return found
