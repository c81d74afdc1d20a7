"""Threads that do not continue, as a monitor reports them."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Grade(StrEnum):
    """How sure it is that something is wrong."""

    PROVEN = "proven"
    """Nothing will ever wake them."""
    ASSUMED = "assumed"
    """They wait for each other; that one of them holds a lock is read from its stack."""
    LOCK = "lock"
    """They wait for a lock whose holder goes on."""
    UNOWNED = "unowned"
    """They wait for a lock that does not note its holder: suspicious only if others run meanwhile."""
    RESTS = "rests"
    """Nothing but Ctrl-C will wake them: suspicious only if nothing else runs, either."""


@dataclass(frozen=True)
class StuckThreads:
    """Threads of one or several processes."""

    grade: Grade
    text: str
    """ "deadlock of 2 threads: thread 7 (server) waits for ..."."""
    tids: frozenset[int]
    """Those that do not continue."""
    pids: tuple[int, ...]
    """Their processes; first the one to examine: not a parent that only waits for its child."""
