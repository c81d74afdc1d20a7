"""The examiner of a monitor: a process that examines one dump or live process, answers, and exits.

Started by path, like a dump worker, but with the site's packages: names, lines and Python frames come
from libraries. A dump is hostile input: whatever it does to this process, the monitor goes on.
"""

from __future__ import annotations

import json
import os
import sys
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

if __name__ == "__main__":
    # By path: its own folder, which has modules of other names, must not be searched.
    sys.path[:1] = [str(Path(__file__).resolve().parent.parent.parent)]

from perimortem.dumping import protect_self
from perimortem.errors import PerimortemError
from perimortem.examine.dump_file import examine_dump
from perimortem.examine.options import ExamineOptions
from perimortem.examine.two_samples import examine_twice
from perimortem.model.examination import Examination
from perimortem.model.process import ProcessRef
from perimortem.report.examination.document import render_examination
from perimortem.symbols.files import ImageLibrary

FRAMES_MAX = 100
THREADS_MAX = 64
"""In the document that an incident keeps; the dump has all of them."""


def encode_question(*, path: Path | None = None, process: ProcessRef | None = None) -> bytes:
    """Exactly one of the two."""
    question: dict[str, Any] = {"path": str(path) if path is not None else None}
    if process is not None:
        question |= {"pid": process.pid, "start_time_ticks": process.start_time_ticks}
    return json.dumps(question).encode() + b"\n"


def main() -> int:
    """Answer one request: a document of docs/examination.schema.json, or {"error": ...}."""
    protect_self()
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    try:
        answer = _examine(json.loads(line))
    except PerimortemError as error:
        answer = {"error": str(error)}
    sys.stdout.write(json.dumps(answer) + "\n")
    return 0


def _examine(question: dict[str, Any]) -> dict[str, Any]:
    with ImageLibrary() as library, _open(question, ExamineOptions(library)) as examination:
        return _render(render_examination(examination, frames_max=FRAMES_MAX))


def _open(question: dict[str, Any], options: ExamineOptions) -> AbstractContextManager[Examination]:
    if question["path"] is not None:
        return examine_dump(Path(question["path"]), options)
    return examine_twice(ProcessRef(question["pid"], question["start_time_ticks"]), options)


def _render(document: dict[str, Any]) -> dict[str, Any]:
    """Without the least telling threads, if there are very many."""
    telling = {document["crashed_tid"], *(t for d in document["deadlocks"] for t in d["tids"])}
    threads = sorted(document["threads"], key=lambda thread: thread["tid"] not in telling)
    return {**document, "threads": threads[:THREADS_MAX], "thread_count": len(threads)}


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
