"""The job of a dump worker: one dump, and a smaller one if the worker dies."""

from __future__ import annotations

import contextlib
import os
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from perimortem import dumping
from perimortem.dumping import release, worker_environment
from perimortem.dumping.naming import partial_path
from perimortem.dumping.progress import OnProgress
from perimortem.dumping.protocol import (
    DumpRequest,
    decode_hold,
    decode_progress,
    decode_result,
    encode_request,
)
from perimortem.model.dump import DumpOptions, DumpResult, MinidumpType, Pause
from perimortem.monitor.jobs import Answer, Job, WorkerKind
from perimortem.monitor.workers import WorkerPool

WORKER = Path(dumping.__file__).with_name("worker.py")
_ANSWER_MAX_BYTES = 1 << 20
_PATIENCE_S = 2.0
_AT_ONCE_MAX = max(2, min(8, os.cpu_count() or 1))
"""A dump occupies a processor; others wait for their turn."""
_AT_EXIT_MAX = 100

Done = Callable[[DumpResult], None]
Prepare = Callable[[], DumpRequest | None]
"""Called when the dump's turn comes; returns the request, or None if no dump is needed."""


def _choose_interpreter() -> str:
    """In a virtual environment on Windows sys.executable starts the real interpreter as its child:
    terminating it would not terminate the worker."""
    if sys.platform == "win32":
        return str(getattr(sys, "_base_executable", "") or sys.executable)
    return sys.executable


def _make_kind(at_once_max: int, *, has_spare: bool) -> WorkerKind:
    """-I -S: the worker starts fast without site-packages and user settings."""
    return WorkerKind(
        name="the dump worker",
        argv=(_choose_interpreter(), "-I", "-S", str(WORKER)),
        environment=lambda: worker_environment(os.environ),
        own_session=False,
        answer_max_bytes=_ANSWER_MAX_BYTES,
        patience_s=_PATIENCE_S,
        at_once_max=at_once_max,
        has_spare=has_spare,
    )


DUMP_WORKER = _make_kind(_AT_ONCE_MAX, has_spare=True)
SINGLE_DUMP_WORKER = _make_kind(1, has_spare=False)
"""For one dump, with no other expected after it."""
EXIT_DUMP_WORKER = _make_kind(_AT_EXIT_MAX, has_spare=False)
"""Waits for the target's exit, however long it lives."""


class DumpTask:
    """One dump by one worker; if the worker dies, a second one takes a smaller dump."""

    def __init__(
        self,
        pool: WorkerPool,
        pid: int,
        prepare: Prepare,
        done: Done,
        *,
        deadline_s: float | None,
        kind: WorkerKind = DUMP_WORKER,
        is_urgent: bool = False,
        on_progress: OnProgress | None = None,
    ) -> None:
        """Submit it; ``done`` is called once, unless ``prepare`` returns None or it is cancelled."""
        self._pool = pool
        self._prepare_request = prepare
        self._done = done
        self._on_progress = on_progress
        self._request: DumpRequest | None = None
        self._first_failure: str | None = None
        """From the previous attempt."""
        self._job = Job(
            kind=kind,
            held_pid=None if kind is EXIT_DUMP_WORKER else pid,
            deadline_s=deadline_s,
            prepare=self._prepare,
            clean_up=self._clean_up,
            done=self._finish,
            on_output=self._pass_progress,
            is_urgent=is_urgent,
        )
        pool.submit(self._job)

    def cancel(self) -> None:
        """End it without a result."""
        self._pool.cancel(self._job)

    def _prepare(self) -> bytes | None:
        if self._request is None:
            self._request = self._prepare_request()
        if self._request is None:
            return None
        with_progress = self._on_progress is not None
        return encode_request(replace(self._request, with_progress=with_progress))

    def _pass_progress(self, output: bytes) -> None:
        """From the last complete line, if it is a progress line."""
        progress = decode_progress(output[:-1].rpartition(b"\n")[2])
        if self._on_progress is not None and progress is not None:
            self._on_progress(progress)

    def _clean_up(self, answer: Answer) -> None:
        """Cleans up after a worker that ended: a partial file; a target that it held."""
        request = self._request
        assert request is not None
        is_whole = _decode(answer.output) is not None
        if not is_whole:  # else it has seen to that: on a busy disk this may take long
            with contextlib.suppress(OSError):
                partial_path(request.path, answer.worker_pid).unlink(missing_ok=True)
        hold = decode_hold(answer.output)
        if hold is not None and not (is_whole and request.options.pause is not Pause.SNAPSHOT):
            release(request.process.pid, hold)

    def _finish(self, answer: Answer) -> None:
        request = self._request
        assert request is not None
        result = _decode(answer.output)
        if result is None:
            failure = answer.failure or f"the dump worker died (status {answer.status})"
            if self._first_failure is None and not request.at_exit:
                self._retry(request, failure)
                return
            result = DumpResult(None, request.options.types, 0, 0.0, 0, (), failure)
        if self._first_failure is not None:
            result = replace(result, worker_failure=self._first_failure)
            if result.path is not None:
                note = "a first attempt failed; this smaller dump was taken instead"
                result = replace(result, soft_errors=(note, *result.soft_errors))
        self._done(result)

    def _retry(self, request: DumpRequest, failure: str) -> None:
        self._first_failure = failure
        self._request = replace(request, options=_reduce(request.options))
        self._job = replace(self._job, is_urgent=True)
        self._pool.submit(self._job)


def _reduce(options: DumpOptions) -> DumpOptions:
    """A small dump needs no snapshot; a target that must not be stopped is not stopped here either."""
    pause = Pause.NONE if options.pause is Pause.NONE else Pause.STOP
    return replace(options, types=MinidumpType.NORMAL, pause=pause)


def _decode(output: bytes) -> DumpResult | None:
    try:
        return decode_result(output)
    except ValueError:
        return None
