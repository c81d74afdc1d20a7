"""Have hung targets and dumps taken apart by a helper, without waiting for it."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import perimortem.examine
from perimortem.model.process import ProcessInfo
from perimortem.proc import is_stopped
from perimortem.system import Helper, Selector, let_run

WORKER = Path(perimortem.examine.__file__).with_name("worker.py")
_OUTPUT_MAX = 16 << 20
_PATIENCE_S = 0.2

Document = dict[str, Any]
Done = Callable[[Document | None, str], None]
"""done(document or None, why there is none)"""


@dataclass
class _Job:
    target: ProcessInfo
    helper: Helper
    deadline_ns: int
    done: Done
    was_stopped: bool
    output: bytes = b""


class Examiner:
    """A helper for each question; it is used once."""

    def __init__(self, selector: Selector, deadline_s: float) -> None:
        self._selector = selector
        self._deadline_ns = int(deadline_s * 1e9)
        self._jobs: list[_Job] = []

    def request(self, target: ProcessInfo, question: bytes, done: Done, now_ns: int) -> None:
        """``question``: as ``examine.worker`` takes it; ``done`` is called from the loop."""
        was_stopped = is_stopped(target.ref)
        try:
            helper = Helper([sys.executable, str(WORKER)], _helper_environment(), own_session=True)
        except OSError as error:
            done(None, f"the examiner cannot be started: {error.strerror}")
            return
        helper.ask(question)
        job = _Job(target, helper, now_ns + self._deadline_ns, done, was_stopped)
        self._jobs.append(job)
        self._selector.register(helper.waitable(), lambda _now_ns: self._serve(job))

    def is_busy_with(self, pid: int) -> bool:
        return any(job.target.ref.pid == pid for job in self._jobs)

    def pids(self) -> set[int]:
        """The helpers that run."""
        return {job.helper.pid for job in self._jobs}

    def next_deadline_ns(self) -> int | None:
        return min((job.deadline_ns for job in self._jobs), default=None)

    def expire(self, now_ns: int) -> None:
        for job in list(self._jobs):
            if job.deadline_ns <= now_ns:
                self._finish(job, "took too long and was ended")

    def close(self) -> None:
        for job in list(self._jobs):
            self._finish(job, "was ended with the watch")

    def _serve(self, job: _Job) -> None:
        part = job.helper.read()
        if part is None:
            return
        job.output += part
        if not part:
            self._finish(job, "")
        elif len(job.output) > _OUTPUT_MAX:
            self._finish(job, "said too much and was ended")

    def _finish(self, job: _Job, why: str) -> None:
        self._jobs.remove(job)
        self._selector.unregister(job.helper.waitable())
        status = job.helper.end(_PATIENCE_S)
        if not job.was_stopped and is_stopped(job.target.ref):
            let_run(job.target.ref.pid)  # a helper that went wrong
        document = None if why else _decode(job.output)
        if document is None:
            job.done(None, f"the examiner {why or f'died (status {status})'}")
        elif "error" in document:
            job.done(None, str(document["error"]))
        else:
            job.done(document, "")


def _decode(output: bytes) -> Document | None:
    try:
        document = json.loads(output)
    except ValueError:
        return None
    return document if isinstance(document, dict) else None


def _helper_environment() -> dict[str, str]:
    """Without what a monitor above us may have preloaded: nothing that we start is watched."""
    environment = {**os.environ, "DEBUGINFOD_URLS": "", "LC_ALL": "C.UTF-8"}
    environment.pop("LD_PRELOAD", None)
    return environment
