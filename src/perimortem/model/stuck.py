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
    """They wait for a lock whose holder goes on, or as no program rests."""
    UNOWNED = "unowned"
    """They wait for a lock that does not note its holder: suspicious only if others run meanwhile."""
    RESTS = "rests"
    """Nothing but Ctrl-C will wake them: suspicious only if nothing else runs, either."""


@dataclass(frozen=True)
class StuckThread:
    """One of them."""

    pid: int
    tid: int
    process: str
    """The name of its process."""
    name: str
    text: str
    """What it waits for: "lock 0x55d0, held by 4711 (loader)"."""
    place: str
    """Where, if its runtime shows that: "work (train.py:11)"."""
    waits_for: tuple[int, ...]
    """Those of the others (tids) that could wake it."""


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
    threads: tuple[StuckThread, ...] = ()
    """The same, or the first of very many; each waits for the next one, if they form a circle."""


@dataclass(frozen=True)
class StuckTasks:
    """Goroutines, or what else a runtime runs on threads of its choice, that wait for a lock alike."""

    pid: int
    place: str
    """ "main.cross": the function in which they wait; empty if that is not known."""
    text: str
    """ "sync.Mutex.Lock"."""
    tasks: tuple[tuple[str, tuple[int, ...]], ...]
    """("goroutine 7", what is equal as long as it has not run) of each."""


@dataclass(frozen=True)
class LookAnswer:
    """Of one look at what processes wait for."""

    found: tuple[StuckThreads, ...]
    tasks: tuple[StuckTasks, ...]
    cpu_ns: int
    """The time of a processor that it took."""
