"""The stacks of a tree of processes: `perimortem stack --tree --json`, docs/tree-stacks.schema.json."""

from __future__ import annotations

from perimortem.documents.base import Document
from perimortem.documents.examination import ThreadStack


class StackedProcess(Document, frozen=True):
    """One process of the tree."""

    pid: int
    parent_pid: int
    name: str
    title: str
    """What it has written in the place of its command line (setproctitle); else empty."""
    labels: dict[str, str]
    place: str
    """Where its main thread is: "barrier at train.py:11"; empty if that is not known."""
    error: str
    """Why there are no stacks of it; else empty."""


class StackedThread(Document, frozen=True):
    """One thread of one process."""

    pid: int
    tid: int
    name: str


class SharedStack(Document, frozen=True):
    """Threads, of one or several processes, whose stacks have the same functions and lines."""

    threads: list[StackedThread]
    process_count: int
    stack: ThreadStack
    """That of the first of them."""


class TreeStacks(Document, frozen=True):
    """All processes, and their stacks: first those of ``odd``, then those of the fewest processes."""

    schema_version: int
    processes: list[StackedProcess]
    odd: list[int]
    """The processes (pids) to look at first: their main threads are elsewhere than those of most."""
    stacks: list[SharedStack]
