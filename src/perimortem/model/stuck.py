"""A deadlock as a monitor reports it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StuckThreads:
    """Threads of one or several processes that nothing will ever wake."""

    text: str
    """ "deadlock of 2 threads: thread 7 (server) waits for ..."."""
    tids: frozenset[int]
    """Those that wait for each other."""
    pids: tuple[int, ...]
    """Their processes; first the one to examine: not a parent that only waits for its child."""
