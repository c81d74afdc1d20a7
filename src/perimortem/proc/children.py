"""Children of a process (/proc/PID/task/TID/children, CONFIG_PROC_CHILDREN)."""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

_THREADS_MAX = 256
"""A process with more threads is asked for the children of so many of them only."""


def list_children(pid: int) -> list[int]:
    """Pids of the living and unreaped children of all threads; empty when the process is gone."""
    found: list[int] = []
    try:
        tids = os.listdir(f"/proc/{pid}/task")
    except OSError:
        return found
    for tid in tids[:_THREADS_MAX]:
        try:
            with open(f"/proc/{pid}/task/{tid}/children", "rb", buffering=0) as file:
                found += [int(word) for word in file.read(1 << 20).split()]
        except (OSError, ValueError):
            continue
    return found
