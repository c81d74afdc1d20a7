"""Dump workers from the monitor's side: one warm spare, a deadline, and one retry with less.

The monitor never waits for a worker: its answer comes through the loop like everything else.
"""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from perimortem import dump
from perimortem.dump import release, worker_environment
from perimortem.dump.naming import partial_path
from perimortem.dump.progress import TellProgress
from perimortem.dump.protocol import (
    DumpRequest,
    decode_hold,
    decode_progress,
    decode_result,
    encode_request,
)
from perimortem.model.dump import DumpResult, MinidumpType, Pause
from perimortem.system import Helper, Selector

WORKER = Path(dump.__file__).with_name("worker.py")
_ANSWER_MAX = 1 << 20
_PATIENCE_S = 2.0

Done = Callable[[DumpResult], None]


@dataclass
class _Job:
    request: DumpRequest
    done: Done
    worker: Helper
    deadline_ns: int
    first_failure: str | None
    """Of the attempt before this one."""
    tell_progress: TellProgress | None
    answer: bytes = b""


class DumpWorkers:
    """Hands requests to workers; several may run at once, each for another target."""

    def __init__(self, selector: Selector, deadline_s: float, *, keep_spare: bool = True) -> None:
        """``keep_spare``: after each dump have the next worker ready."""
        self._selector = selector
        self._keep_spare = keep_spare
        self._deadline_ns = int(deadline_s * 1e9)
        self._spare: Helper | None = None
        self._jobs: list[_Job] = []

    def warm_up(self) -> None:
        """Start the spare; a dump then begins without waiting for an interpreter."""
        if self._spare is None or not self._spare.is_running:
            with contextlib.suppress(OSError):  # no descriptors, no memory: tried again at need
                self._spare = _start_worker()

    def request(
        self,
        request: DumpRequest,
        done: Done,
        now_ns: int,
        tell_progress: TellProgress | None = None,
    ) -> None:
        """Dump; ``done`` is called from :meth:`serve` or :meth:`expire` with the result."""
        request = replace(request, with_progress=tell_progress is not None)
        self._begin(request, done, now_ns, tell_progress, first_failure=None)

    def pids(self) -> set[int]:
        """The workers, spare and busy."""
        spare = [self._spare] if self._spare else []
        return {worker.pid for worker in (*spare, *(job.worker for job in self._jobs))}

    def next_deadline_ns(self) -> int | None:
        return min((job.deadline_ns for job in self._jobs), default=None)

    def expire(self, now_ns: int) -> None:
        """End workers that are over their deadline; the kernel lets their targets run on."""
        for job in list(self._jobs):
            if job.deadline_ns <= now_ns:
                job.worker.kill()
                self._finish(job, now_ns, why="it took too long and was ended")

    def close(self) -> None:
        """End the spare and whatever still runs. Targets are let go by the workers or the kernel."""
        for job in self._jobs:
            self._selector.unregister(job.worker.waitable())
            job.worker.end(0)
            job.answer += job.worker.rest[:_ANSWER_MAX]
            _clean_up(job)
        self._jobs = []
        if self._spare is not None:
            self._spare.kill()
            self._spare.end(_PATIENCE_S)
            self._spare = None

    def _begin(
        self,
        request: DumpRequest,
        done: Done,
        now_ns: int,
        tell_progress: TellProgress | None,
        *,
        first_failure: str | None,
    ) -> None:
        self.warm_up()
        worker, self._spare = self._spare, None
        if worker is None:
            done(_failure(request, "no dump worker could be started: out of descriptors or memory"))
            return
        job = _Job(request, done, worker, now_ns + self._deadline_ns, first_failure, tell_progress)
        self._jobs.append(job)
        self._selector.register(worker.waitable(), lambda now_ns: self._serve(job, now_ns))
        worker.ask(encode_request(request))

    def _serve(self, job: _Job, now_ns: int) -> None:
        part = job.worker.read()
        if part is None:
            return
        job.answer += part
        self._tell_progress(job)
        if not part or len(job.answer) > _ANSWER_MAX:
            self._finish(job, now_ns, why="the dump worker died")

    def _tell_progress(self, job: _Job) -> None:
        """Of the last whole line, if it tells that."""
        progress = decode_progress(job.answer[:-1].rpartition(b"\n")[2])
        if job.tell_progress is not None and progress is not None:
            job.tell_progress(progress)

    def _finish(self, job: _Job, now_ns: int, *, why: str) -> None:
        self._jobs.remove(job)
        self._selector.unregister(job.worker.waitable())
        status = job.worker.end(_PATIENCE_S)
        job.answer += job.worker.rest[:_ANSWER_MAX]
        _clean_up(job)
        try:
            result = decode_result(job.answer)
        except ValueError:
            failure = f"{why} (status {status})"
            if job.first_failure is None:
                smaller = replace(
                    job.request,
                    options=replace(
                        job.request.options,
                        types=MinidumpType.NORMAL,
                        pause=_retry_pause(job.request),
                    ),
                )
                self._begin(smaller, job.done, now_ns, job.tell_progress, first_failure=failure)
                return
            result = _failure(job.request, failure)
        if job.first_failure is not None:
            result = replace(result, worker_failure=job.first_failure)
            if result.path is not None:
                note = "a first attempt failed; this smaller dump was taken instead"
                result = replace(result, soft_errors=(note, *result.soft_errors))
        job.done(result)
        if self._keep_spare:  # not before: it would take a processor from the dump
            self.warm_up()


def _retry_pause(request: DumpRequest) -> Pause:
    """Who wants nothing stopped has that at the second attempt, too; a small dump needs no snapshot."""
    return Pause.NONE if request.options.pause is Pause.NONE else Pause.STOP


def _start_worker() -> Helper:
    """-I -S: no site-packages, no user settings: it starts fast."""
    return Helper([choose_interpreter(), "-I", "-S", str(WORKER)], worker_environment(os.environ))


def choose_interpreter() -> str:
    """Of a virtual environment on Windows sys.executable only starts the real one, as its child: whom we
    ended would not be whom we mean."""
    if sys.platform == "win32":
        return str(getattr(sys, "_base_executable", "") or sys.executable)
    return sys.executable


def _clean_up(job: _Job) -> None:
    """What is left of a worker that has ended: a part of a file; a target that it held."""
    partial = partial_path(job.request.path, job.worker.pid)
    with contextlib.suppress(OSError):
        partial.unlink(missing_ok=True)
    hold = decode_hold(job.answer)
    try:
        decode_result(job.answer)
        is_whole = job.request.options.pause is not Pause.SNAPSHOT
    except ValueError:
        is_whole = False
    if hold is not None and not is_whole:
        release(job.request.process.pid, hold)


def _failure(request: DumpRequest, why: str) -> DumpResult:
    return DumpResult(None, request.options.types, 0, 0.0, 0, (), why)
