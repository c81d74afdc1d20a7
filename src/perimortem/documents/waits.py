"""Who waits for whom: `perimortem waits --json`, docs/waits.schema.json."""

from __future__ import annotations

from typing import Literal

from perimortem.documents.base import Document
from perimortem.model.wait_graph import WaitsFor


class WaitingThread(Document, frozen=True):
    """One thread, and what it waits for."""

    tid: int
    name: str
    waits_for: WaitsFor | None
    """Null: it runs, or is ready to."""
    text: str
    """ "lock 0x55d0, held by 4711 (loader)"; empty if it runs."""
    place: str
    """Of a stuck Python thread the line in which it waits: "work (train.py:11)"; else empty."""
    wakers: list[int]
    """Threads (tids) that can end that: one is enough, unless ``needs_all``."""
    waker_count: int
    """May be more than there are ``wakers``."""
    needs_all: bool
    outside: str
    """What else may end it; empty if nothing can."""
    stuck: bool
    """Nothing will ever end it."""


class WaitingTasks(Document, frozen=True):
    """What a runtime runs on threads of its choice, such as goroutines of Go: those that wait alike."""

    text: str
    """ "goroutines 7, 9 wait in main.cross for sync.Mutex.Lock"."""
    names: list[str]
    """ "goroutine 7"; the first of very many."""
    count: int
    waits_for: str
    """As the runtime says it."""
    place: str
    """The function in which they wait; empty if that is not known."""


class WaitingProcess(Document, frozen=True):
    """One process that was looked at."""

    pid: int
    parent_pid: int
    name: str
    command_line: list[str]
    threads: list[WaitingThread]
    tasks: list[WaitingTasks]
    """Only those that wait; most of them first."""


class Deadlock(Document, frozen=True):
    """Threads of which none will ever continue, in one or several processes."""

    text: str
    circle: list[int]
    """Tids: each waits for some of the others, and for nothing else."""
    waiting: list[int]
    """Tids that wait for those."""


class Waits(Document, frozen=True):
    """One look, or two of them if anything was stuck in the first."""

    schema_version: Literal[1]
    deadlocks: list[Deadlock]
    suspected: list[Deadlock]
    """Deadlocks if the locks are held by those whose stacks say so."""
    processes: list[WaitingProcess]
    notes: list[str]
