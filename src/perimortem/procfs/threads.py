"""The threads of a process: the directory /proc/PID/task."""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

from perimortem.procfs.stat import read_thread_stat


def list_threads(pid: int) -> list[int]:
    """Their ids, as the kernel lists them; empty if the process is gone."""
    try:
        return [int(name) for name in os.listdir(f"/proc/{pid}/task")]
    except OSError:
        return []


def has_thread_ended(pid: int, tid: int) -> bool:
    """Gone or a zombie: a leader that exited by pthread_exit is one, among living threads."""
    facts = read_thread_stat(pid, tid)
    return facts is None or facts.has_ended
