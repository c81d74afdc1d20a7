"""The examiner of a monitor: a process that examines one dump or live process, answers, and exits.

Started by path, like a dump worker, but with the site's packages: names, lines and Python frames come
from libraries. A dump is hostile input: it may end this process, and
the monitor goes on.
"""

from __future__ import annotations

import os
import sys
import tempfile
from contextlib import AbstractContextManager
from pathlib import Path

if __name__ == "__main__":
    # By path: its own folder, which has modules of other names, must not be searched.
    sys.path[:1] = [str(Path(__file__).resolve().parent.parent.parent)]

import msgspec

from perimortem.documents import examination as documents
from perimortem.errors import PerimortemError
from perimortem.examine.dump_file import examine_dump
from perimortem.examine.options import ExamineOptions
from perimortem.examine.process import examine_twice
from perimortem.examine.protocol import Question, decode_question, encode_answer
from perimortem.model.examination import Examination
from perimortem.model.process import ProcessRef
from perimortem.report.examination.document import render_examination
from perimortem.sandbox import confine, end_with_parent
from perimortem.sandbox.confinement import Confinement
from perimortem.symbols.cache import find_cache_dir
from perimortem.symbols.files import ImageLibrary

FRAMES_MAX = 100
THREADS_MAX = 64
"""In the document that an incident keeps; the dump has all of them."""


def main() -> int:
    """Answer one question."""
    end_with_parent()
    line = sys.stdin.buffer.readline()
    if not line:
        return 0
    answer: documents.Examination | str
    try:
        answer = _examine(decode_question(line))
    except PerimortemError as error:
        answer = str(error)
    except OSError as error:
        answer = f"a file could not be read: {error}"
    except MemoryError:
        answer = "it takes more memory than it may (setting examine-memory)"
    sys.stdout.buffer.write(encode_answer(answer))
    return 0


def _examine(question: Question) -> documents.Examination:
    directories = (find_cache_dir(), Path(tempfile.gettempdir()))
    confinement = Confinement(question.memory_bytes, question.cpu_s, question.user, directories)
    with ImageLibrary() as library:
        options = ExamineOptions(library, before_parsing=lambda: _confine(confinement))
        with _open(question.what, options) as examination:
            return _shorten(render_examination(examination, frames_max=FRAMES_MAX))


def _confine(confinement: Confinement) -> None:
    """As far as possible: the monitor's doctor says what is not."""
    confine(confinement)


def _open(what: Path | ProcessRef, options: ExamineOptions) -> AbstractContextManager[Examination]:
    return examine_dump(what, options) if isinstance(what, Path) else examine_twice(what, options)


def _shorten(document: documents.Examination) -> documents.Examination:
    """If there are very many threads, those that crashed or wait for each other come first."""
    involved = {document.crashed_tid, *(tid for d in document.deadlocks for tid in d.tids)}
    threads = sorted(document.threads, key=lambda thread: thread.tid not in involved)
    return msgspec.structs.replace(
        document, threads=threads[:THREADS_MAX], thread_count=len(threads)
    )


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
