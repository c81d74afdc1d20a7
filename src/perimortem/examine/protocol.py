"""The messages between monitor and examiner: a question, then the answer, each a line of JSON."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from perimortem.model.process import ProcessRef
from perimortem.sandbox.confinement import User

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination


@dataclass(frozen=True)
class Question:
    """What to examine, and what that may take."""

    what: Path | ProcessRef
    """A dump, or a live process."""
    memory_bytes: int
    cpu_s: int
    user: User | None
    """Whose rights are taken, if it runs as root."""


def encode_question(question: Question) -> bytes:
    what, user = question.what, question.user
    is_dump = isinstance(what, Path)
    values = {
        "path": str(what) if is_dump else None,
        "process": None if isinstance(what, Path) else [what.pid, what.start_time_ticks],
        "memory_bytes": question.memory_bytes,
        "cpu_s": question.cpu_s,
        "user": None if user is None else [user.uid, user.gid],
    }
    return json.dumps(values).encode() + b"\n"


def decode_question(line: bytes) -> Question:
    values = json.loads(line)
    path, process, user = values["path"], values["process"], values["user"]
    return Question(
        Path(path) if path is not None else ProcessRef(*process),
        values["memory_bytes"],
        values["cpu_s"],
        None if user is None else User(*user),
    )


def encode_answer(answer: Examination | str) -> bytes:
    """A string: why there is no examination."""
    from perimortem.documents.base import encode

    text = json.dumps({"error": answer}) if isinstance(answer, str) else encode(answer)
    return text.encode() + b"\n"


def decode_answer(output: bytes) -> Examination | str | None:
    """None for anything that no examiner writes."""
    # Most programs never crash or hang: their monitor does without these.
    import msgspec

    from perimortem.documents.examination import Examination

    try:
        document = json.loads(output)
        if isinstance(document, dict) and "error" in document:
            return str(document["error"])
        return msgspec.convert(document, Examination)
    except (ValueError, RecursionError):
        return None
