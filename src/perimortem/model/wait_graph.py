"""Who waits for whom, at one instant: threads of several processes, and what can end each wait."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perimortem.model.process import ProcessInfo


class WaitsFor(StrEnum):
    """What a thread waits for."""

    LOCK = "lock"
    """A lock, or anything else that only a thread with the same memory can release."""
    THREAD = "thread"
    """The end of a thread."""
    CONDITION = "condition"
    """A condition, a semaphore, or a lock whose kind is not known."""
    CHILD = "child"
    """The end of a child, or that it executes another program."""
    PIPE = "pipe"
    SOCKET = "socket"
    FILE_LOCK = "file-lock"
    DESCRIPTOR = "descriptor"
    """Any of several descriptors (poll, select, epoll), or one of another kind."""
    TIME = "time"
    SIGNAL = "signal"
    DEVICE = "device"
    """Uninterruptibly, in the kernel."""
    HELD = "held"
    """It is stopped, traced or frozen."""
    OTHER = "other"
    """Not known."""


IDLE = frozenset({WaitsFor.CONDITION, WaitsFor.PIPE, WaitsFor.SOCKET, WaitsFor.DESCRIPTOR})
"""How a program rests: by itself none of these says that anything is wrong."""


@dataclass(frozen=True)
class Wait:
    """What one thread waits for, and who can end that."""

    what: WaitsFor
    text: str
    """ "lock 0x55d0, held by 4711 (loader)"; without the thread that waits."""
    key: tuple[int | str, ...] = ()
    """Equal as long as it is the same wait: the call, its arguments, the holder."""
    wakers: frozenset[int] = frozenset()
    """Threads (tids) that can end it."""
    needs_all: bool = False
    """Each of ``wakers`` has to do something; else one is enough."""
    outside: str = ""
    """What else may end it: a time limit, a process that is not in the graph, or that it is not known;
    empty if nothing can."""
    ends_by_death: bool = False
    """The end of their process is enough."""
    retries: bool = False
    """It wakes by itself, and waits again: that the thread has run is no sign that it goes on."""
    is_interruptible: bool = False
    """A handler of the program's own may end it, although it waits for a lock (in Python)."""
    never_rests: bool = False
    """No program rests like this: it is suspicious by itself, if it lasts."""
    assumed_holder: int | None = None
    """The thread that holds the lock, as far as its stack shows: it may have released it."""


@dataclass(frozen=True)
class GraphThread:
    """One thread. ``wait`` None: it runs, or is ready to."""

    tid: int
    pid: int
    name: str
    wait: Wait | None
    slices: int
    """How often it has been scheduled so far."""
    place: str = ""
    """Where it waits, if its runtime shows that: "work (train.py:11)"."""


@dataclass(frozen=True)
class GraphTask:
    """What a runtime runs on threads of its choice, such as a goroutine: one that waits."""

    pid: int
    name: str
    """ "goroutine 7"."""
    text: str
    """What it waits for, as its runtime says it: "sync.Mutex.Lock"."""
    place: str
    """The function in which it waits; empty if that is not known."""
    waits_for_lock: bool
    """Whose holder is not known."""
    key: tuple[int, ...]
    """Equal as long as it has not run."""


@dataclass(frozen=True)
class GraphProcess:
    """One process of a graph."""

    info: ProcessInfo
    parent_pid: int
    labels: tuple[tuple[str, str], ...] = ()
    caught: frozenset[int] = frozenset()
    """The signals for which it has a handler."""
    is_interrupted_by_runtime: bool = False
    """Its handler of SIGINT is that of its runtime, such as Python's, which every program has."""
    timer: str = ""
    """A timer of it that signals it when it expires."""


@dataclass(frozen=True)
class WaitGraph:
    """Of all threads of ``processes``, by pid and by tid."""

    processes: dict[int, GraphProcess]
    threads: dict[int, GraphThread]
    notes: tuple[str, ...] = ()
    """What could not be read."""
    tasks: tuple[GraphTask, ...] = ()


@dataclass(frozen=True)
class Deadlock:
    """Threads of which none will ever continue, in one or several processes."""

    circle: tuple[int, ...]
    """Tids: each waits for some of the others, and for nothing else."""
    waiting: tuple[int, ...]
    """Tids that wait for those."""
