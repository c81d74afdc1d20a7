"""Orphans of the tree are reparented to us and reaped: as a subreaper (prctl(2)), or as pid 1."""

from __future__ import annotations

import ctypes
import os
import sys

assert sys.platform == "linux"

from perimortem.proc import list_children, read_stat

_PR_SET_CHILD_SUBREAPER = 36


def become_subreaper() -> None:
    """A process that daemonizes stays below us: we get its exit status, not init."""
    ctypes.CDLL(None).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def list_orphans() -> list[int]:
    """Our children: those that we started, and those whose parents are gone."""
    return [child for _, child in list_children([os.getpid()])]


def reap_orphans(spared: set[int]) -> int:
    """Reap dead children except those in ``spared`` (watched, or our own helpers); returns how many."""
    reaped = 0
    for pid in list_orphans():
        if pid in spared:
            continue
        facts = read_stat(pid)
        if facts is None or not facts.is_dead:
            continue
        try:
            reaped += os.waitpid(pid, os.WNOHANG)[0] == pid
        except ChildProcessError:
            continue
    return reaped
