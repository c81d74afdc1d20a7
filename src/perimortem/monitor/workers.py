"""Workers: processes that each answer one request about a target and exit. Nothing here blocks on them.

A worker reads its request from standard input and writes its answer to standard output. It has a
deadline, its answer has a size limit, and no matter what a broken target does to it, the monitor goes
on. A process is held by one worker at a time; further jobs for it wait for their turn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from perimortem.monitor.timers import Timers
from perimortem.system import Selector


class Worker(Protocol):
    """A started process (``system.Helper``)."""

    rest: bytes

    @property
    def pid(self) -> int: ...

    @property
    def is_running(self) -> bool: ...

    def waitable(self) -> int:
        """Ready when there is something to :meth:`read`."""

    def ask(self, question: bytes) -> None:
        """Write the request and close its standard input."""

    def read(self) -> bytes | None:
        """A part of the answer, empty at its end; None: nothing yet."""

    def kill(self) -> None: ...

    def end(self, patience_s: float) -> int:
        """Its status; after ``patience_s`` it is killed."""


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


@dataclass(eq=False)
class _Running:
    job: Job
    worker: Worker
    output: bytes = b""


class WorkerPool:
    """All workers of one monitor."""

    def __init__(
        self, selector: Selector, timers: Timers, now_ns: Callable[[], int], launch: Launch
    ) -> None:
        self._selector = selector
        self._timers = timers
        self._now_ns = now_ns
        self._launch = launch
        self._spares: dict[WorkerKind, Worker] = {}
        self._waiting: list[Job] = []
        self._running: list[_Running] = []
        self._is_starting = False

    def warm_up(self, kind: WorkerKind) -> None:
        """Start the spare worker, so that a job need not wait for an interpreter."""
        spare = self._spares.get(kind)
        if spare is None or not spare.is_running:
            with contextlib.suppress(OSError):  # no descriptors, no memory: retried on demand
                self._spares[kind] = self._start(kind)

    def submit(self, job: Job) -> None:
        """Do ``job`` now, or when its turn comes. Its callbacks may be called before this returns."""
        if job.is_urgent:
            at = sum(waiting.is_urgent for waiting in self._waiting)
            self._waiting.insert(at, job)
        else:
            self._waiting.append(job)
        self._start_waiting()

    def cancel(self, job: Job) -> None:
        """Cancel it, if it has not ended; ``clean_up`` is called, ``done`` is not."""
        if job in self._waiting:
            self._waiting.remove(job)
        for running in [r for r in self._running if r.job is job]:
            self._stop(running, "was cancelled", patience_s=0)
        self._start_waiting()

    @property
    def is_working(self) -> bool:
        """It has any job."""
        return bool(self._waiting or self._running)

    def holds(self, pid: int) -> bool:
        """A worker works on this process, or will."""
        jobs = (*self._waiting, *(running.job for running in self._running))
        return any(job.held_pid == pid for job in jobs)

    @property
    def waiting_count(self) -> int:
        """Jobs that are queued."""
        return len(self._waiting)

    def pids(self) -> set[int]:
        """The workers, spare and busy."""
        workers = (*self._spares.values(), *(running.worker for running in self._running))
        return {worker.pid for worker in workers}

    def close(self) -> None:
        """End all. Their targets are released by the workers, by the kernel, or by the clean-up."""
        self._waiting.clear()
        for running in list(self._running):
            self._stop(running, "was ended with the watch", patience_s=0)
        for kind, spare in self._spares.items():
            spare.kill()
            spare.end(kind.patience_s)
        self._spares.clear()

    def _start(self, kind: WorkerKind) -> Worker:
        return self._launch(kind.argv, kind.environment(), own_session=kind.own_session)

    def _start_waiting(self) -> None:
        if self._is_starting:
            return  # a job that failed at once; the loop below continues anyway
        self._is_starting = True
        try:
            while (job := next(filter(self._may_start, self._waiting), None)) is not None:
                self._waiting.remove(job)
                self._begin(job)
        finally:
            self._is_starting = False

    def _may_start(self, job: Job) -> bool:
        running = [r.job for r in self._running]
        if sum(other.kind is job.kind for other in running) >= job.kind.at_once_max:
            return False
        return job.held_pid is None or all(other.held_pid != job.held_pid for other in running)

    def _begin(self, job: Job) -> None:
        question = job.prepare()
        if question is None:
            return
        if job.kind.has_spare:
            self.warm_up(job.kind)
            worker = self._spares.pop(job.kind, None)
        else:
            worker = None
        try:
            worker = worker or self._start(job.kind)
        except OSError as error:
            why = f"{job.kind.name} could not be started: {error.strerror}"
            answer = Answer(b"", why, -1, 0)
            job.clean_up(answer)
            job.done(answer)
            return
        running = _Running(job, worker)
        self._running.append(running)
        self._selector.register(worker.waitable(), lambda _now_ns: self._read(running))
        if job.deadline_s is not None:
            due_ns = self._now_ns() + int(job.deadline_s * 1e9)
            self._timers.arm(running, due_ns, lambda _now_ns: self._expire(running))
        worker.ask(question)

    def _read(self, running: _Running) -> None:
        if running not in self._running:
            return  # already ended, by another event
        part = running.worker.read()
        if part is None:
            return
        running.output += part
        if len(running.output) > running.job.kind.answer_max_bytes:
            self._finish(running, "wrote too much output and was ended", patience_s=0)
        elif part:
            running.job.on_output(running.output)
        else:
            self._finish(running, None, patience_s=running.job.kind.patience_s)

    def _expire(self, running: _Running) -> None:
        self._finish(running, "took too long and was ended", patience_s=0)

    def _finish(self, running: _Running, why: str | None, *, patience_s: float) -> None:
        answer = self._stop(running, why, patience_s=patience_s)
        running.job.done(answer)
        self._start_waiting()
        if running.job.kind.has_spare:  # not before: it would compete with the job for a processor
            self.warm_up(running.job.kind)

    def _stop(self, running: _Running, why: str | None, *, patience_s: float) -> Answer:
        job, worker = running.job, running.worker
        self._running.remove(running)
        self._selector.unregister(worker.waitable())
        self._timers.disarm(running)
        status = worker.end(patience_s)
        output = running.output + worker.rest[: job.kind.answer_max_bytes]
        failure = None if why is None else f"{job.kind.name} {why} (status {status})"
        answer = Answer(output, failure, status, worker.pid)
        job.clean_up(answer)
        return answer
