"""The messages between monitor and examiner: a question, then the answer, each a line of JSON."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING

from perimortem.model.process import ProcessRef

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination


def encode_question(*, path: Path | None = None, process: ProcessRef | None = None) -> bytes:
    """Exactly one of the two."""
    question: dict[str, str | int | None] = {"path": str(path) if path is not None else None}
    if process is not None:
        question |= {"pid": process.pid, "start_time_ticks": process.start_time_ticks}
    return json.dumps(question).encode() + b"\n"


def decode_question(line: bytes) -> Path | ProcessRef:
    question = json.loads(line)
    if question["path"] is not None:
        return Path(question["path"])
    return ProcessRef(question["pid"], question["start_time_ticks"])


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
