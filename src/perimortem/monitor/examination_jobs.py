"""The job of an examiner: read the stacks of a live process, or examine a dump."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

import perimortem.examine
from perimortem.examine.protocol import Question, decode_answer, encode_question
from perimortem.model.process import ProcessRef
from perimortem.monitor.jobs import Answer, Job, WorkerKind
from perimortem.monitor.workers import WorkerPool
from perimortem.proc import is_stopped
from perimortem.system import let_run

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination

WORKER = Path(perimortem.examine.__file__).with_name("worker.py")
_AT_ONCE_MAX = 8
"""Each takes a processor and some 60 MB. Arbitrary."""

Done = Callable[["Examination | None", str], None]
"""done(its document or None, why there is none)"""


def _environment() -> dict[str, str]:
    """Without the preloads of a monitor that watches us: our own helpers are not watched."""
    environment = {**os.environ, "DEBUGINFOD_URLS": "", "LC_ALL": "C.UTF-8"}
    environment.pop("LD_PRELOAD", None)
    return environment


EXAMINER = WorkerKind(
    name="the examiner",
    argv=(sys.executable, str(WORKER)),
    environment=_environment,
    own_session=True,
    answer_max_bytes=16 << 20,
    patience_s=0.2,
    at_once_max=_AT_ONCE_MAX,
)


def submit_examination(
    pool: WorkerPool, process: ProcessRef, question: Question, done: Done, *, deadline_s: float
) -> Job:
    """``done`` is called once, unless cancelled."""
    was_stopped = is_stopped(process)

    def clean_up(_answer: Answer) -> None:
        if not was_stopped and is_stopped(process):
            let_run(process.pid)  # a worker that failed may have left it stopped

    def finish(answer: Answer) -> None:
        if answer.failure:
            done(None, answer.failure)
            return
        document = decode_answer(answer.output)
        if document is None:
            done(None, f"the examiner died (status {answer.status})")
        elif isinstance(document, str):
            done(None, document)
        else:
            done(document, "")

    job = Job(
        kind=EXAMINER,
        held_pid=process.pid,
        deadline_s=deadline_s,
        prepare=lambda: encode_question(question),
        clean_up=clean_up,
        done=finish,
    )
    pool.submit(job)
    return job
