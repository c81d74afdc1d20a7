"""The pool of workers. Nothing here blocks on them.

A process is held by one worker at a time; further jobs for it wait for their turn.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from perimortem.monitor.jobs import Answer, Job, Launch, Worker, WorkerKind
from perimortem.monitor.timers import Timers
from perimortem.monitor.worker_run import WorkerRun
from perimortem.system import Selector

_SPARE_PATIENCE_S = 1.0
_SPARE_AFTER_NS = 20_000_000
"""A spare worker is started so long after an answer: first the process that waited for it, and the
report, have the processors. Arbitrary."""


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
        self._running: list[WorkerRun] = []
        self._is_starting = False
        self._needs_spares = True

    def warm_up(self, kind: WorkerKind) -> None:
        """Start the spare worker, so that a job need not wait for an interpreter."""
        if not self._needs_spares:
            return
        spare = self._spares.get(kind)
        if spare is not None and spare.poll() is not None:
            self._spares.pop(kind).close()
        if kind not in self._spares:
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
        """Cancel it, if it has not ended. ``done`` is not called, and nothing waits for its worker:
        ``clean_up`` follows when that has ended, and until then it counts as running."""
        if job in self._waiting:
            self._waiting.remove(job)
        for run in self._running:
            if run.job is job:
                run.cancel()

    @property
    def is_working(self) -> bool:
        """It has any job."""
        return bool(self._waiting or self._running)

    def holds(self, pid: int) -> bool:
        """A worker works on this process, or will."""
        jobs = (*self._waiting, *(run.job for run in self._running))
        return any(job.held_pid == pid for job in jobs)

    @property
    def waiting_count(self) -> int:
        """Jobs that are queued."""
        return len(self._waiting)

    def pids(self) -> set[int]:
        """The workers, spare and busy."""
        spares = {worker.pid for worker in self._spares.values()}
        return spares | {run.pid for run in self._running}

    def dismiss_spares(self) -> None:
        """No more jobs are expected. They end by themselves: a monitor that watches us would report
        that they were killed."""
        if self._needs_spares:
            self._needs_spares = False
            for spare in self._spares.values():
                spare.ask(b"")

    def close(self) -> None:
        """End all. Their targets are released by the workers, by the kernel, or by the clean-up."""
        self._waiting.clear()
        for run in self._running:
            run.begin_close()
        self.dismiss_spares()
        for run in self._running:
            run.job.clean_up(run.close())
        self._running.clear()
        for spare in self._spares.values():
            spare.end(_SPARE_PATIENCE_S)
            spare.close()
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
            worker = self._spares.pop(job.kind, None) if self._needs_spares else None
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
        self._running.append(
            WorkerRun(
                job, worker, question, self._selector, self._timers, self._now_ns, self._finish
            )
        )

    def _finish(self, run: WorkerRun, answer: Answer) -> None:
        self._running.remove(run)
        run.job.clean_up(answer)
        if not run.is_cancelled:
            run.job.done(answer)
        self._start_waiting()
        kind = run.job.kind
        if kind.has_spare:
            due_ns = self._now_ns() + _SPARE_AFTER_NS
            self._timers.call_later(due_ns, lambda _now_ns: self.warm_up(kind))
