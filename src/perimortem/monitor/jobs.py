"""Workers and their jobs: processes that each answer one request about a target and exit.

A worker reads its request from standard input and writes its answer to standard output. It has a
deadline, its answer has a size limit, and no matter what a broken target does to it, the monitor goes
on.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol


class Worker(Protocol):
    """A started process (``system.Helper``)."""

    @property
    def pid(self) -> int: ...

    def waitable(self) -> int:
        """Ready when there is something to :meth:`read`."""

    def ask(self, question: bytes) -> None:
        """Write the request and close its standard input. It ends without a word after an empty one."""

    def read(self) -> bytes | None:
        """A part of the answer, empty at its end; None: nothing yet."""

    def poll(self) -> int | None:
        """Its status; None while it runs."""

    def terminate(self) -> None:
        """A worker that is asked lets its target run on, and ends."""

    def kill(self) -> None: ...

    def end(self, patience_s: float) -> int:
        """Its status; after ``patience_s`` it is killed. Waits: only when the watch is over."""

    def close(self) -> None:
        """It has ended, or will: nothing more is read."""


class Launch(Protocol):
    """Starts a worker. Raises OSError."""

    def __call__(
        self, argv: Sequence[str], environment: Mapping[str, str], *, own_session: bool
    ) -> Worker: ...


@dataclass(frozen=True)
class WorkerKind:
    """One program that does one kind of work."""

    name: str
    """In messages: "the dump worker"."""
    argv: tuple[str, ...]
    environment: Callable[[], dict[str, str]]
    own_session: bool
    """Ctrl-C does not reach it."""
    answer_max_bytes: int
    patience_s: float
    """How long it may take to exit once it has answered."""
    at_once_max: int
    has_spare: bool = False
    """One is started before it is needed."""


@dataclass(frozen=True)
class Answer:
    """The outcome of a job."""

    output: bytes
    failure: str | None
    """Why the output cannot be trusted; None if the worker ended by itself."""
    status: int
    worker_pid: int


@dataclass(frozen=True, eq=False)
class Job:
    """One request for one worker."""

    kind: WorkerKind
    held_pid: int | None
    """The process that the worker may stop; None if it stops none."""
    deadline_s: float | None
    prepare: Callable[[], bytes | None]
    """Called when the job's turn comes; returns the request, or None if it is no longer wanted."""
    clean_up: Callable[[Answer], None]
    """Called once after the worker has ended, for any reason."""
    done: Callable[[Answer], None]
    """Called once after that, unless the job was cancelled or its request was not wanted."""
    on_output: Callable[[bytes], None] = lambda _output: None
    """Called with all output so far whenever there is more."""
    is_urgent: bool = False
    """Takes precedence over other jobs."""
