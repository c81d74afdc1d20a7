"""Orphans of the tree are reparented to us and reaped: as a subreaper (prctl(2)), or as pid 1."""

from __future__ import annotations

import ctypes
import os
import sys
from contextlib import suppress

assert sys.platform == "linux"

from perimortem.proc import list_children, read_stat

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """A process that daemonizes stays below us: we get its exit status, not init."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def list_orphans() -> list[int]:
    """Our children: those that we started, and those whose parents are gone."""
    return [child for _, child in list_children([os.getpid()])]


def reap(pid: int) -> None:
    """If it has ended."""
    facts = read_stat(pid)
    if facts is not None and facts.is_dead:
        with suppress(ChildProcessError):
            os.waitpid(pid, os.WNOHANG)
