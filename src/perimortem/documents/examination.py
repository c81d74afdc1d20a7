"""What was read from a dump or a live process: docs/examination.schema.json."""

from __future__ import annotations

from typing import Annotated, Literal

from msgspec import UNSET, Meta, UnsetType

from perimortem.documents.base import Document, Hex
from perimortem.model.evidence import Confidence


class SourceLine(Document, frozen=True):
    """A line of source code."""

    file: str
    line: int
    function: str | None
    """The inlined function, where it is one."""


class Frame(Document, frozen=True):
    """One frame of a stack, the innermost first."""

    number: int
    language: Literal["native", "python"]
    address: Hex | None
    """Of the instruction; null for Python."""
    function: str | None
    offset: Hex | None
    """From the start of the function."""
    module: str | None
    module_offset: Hex | None
    source: SourceLine | None
    inlined: list[SourceLine]
    trust: str
    """How the frame was found: context, cfi, frame pointer, scan ..."""


class Fold(Document, frozen=True):
    """A part of a deep stack that repeats."""

    start: int
    period: int
    count: int


class ThreadStack(Document, frozen=True):
    """The stack of one thread."""

    tid: int
    name: str
    crashed: bool
    frame_count: int
    """May be more than there are ``frames``: a deep stack is cut in its middle."""
    frames: list[Frame]
    folds: list[Fold]
    end: str
    """Why the walk ended."""
    whole: bool
    notes: list[str]


class Access(Document, frozen=True):
    """The memory access that failed."""

    kind: str
    address: Hex
    size_bytes: int | None
    expression: str | None
    registers: dict[str, Hex]


class ReasonEvidence(Document, frozen=True):
    """A fact that the reason rests on."""

    fact: str
    source: str
    confidence: Confidence


class Reason(Document, frozen=True):
    """Why it crashed."""

    kind: str
    text: str
    exception: str
    tid: int
    instruction: str | None
    access: Access | None
    message: str | None
    """Its last words: of assert, abort, an exception."""
    thrown_type: str | None
    evidence: list[ReasonEvidence]


class Signature(Document, frozen=True):
    """The same for crashes of one cause."""

    text: str
    blamed_frame: int | None
    """The number of the frame to look at first."""
    blamed_function: str | None
    blamed_module: str | None


class Wait(Document, frozen=True):
    """What one thread waits for."""

    tid: int
    kind: str
    address: Hex
    name: str | None
    owner_tid: int | None
    has_limit: bool
    detail: str
    text: str


class Deadlock(Document, frozen=True):
    """Threads that wait for each other."""

    tids: list[int]
    confidence: Confidence
    text: str


class Missing(Document, frozen=True):
    """A module whose names or lines could not be read, and why."""

    module: str
    text: str


class Examination(Document, frozen=True):
    """One examination."""

    schema_version: Literal[1]
    pid: int
    architecture: str
    os: str
    program: str | None
    crashed_tid: int | None
    reason: Reason | None
    signature: Signature | None
    threads: list[ThreadStack]
    waits: list[Wait]
    deadlocks: list[Deadlock]
    missing: list[Missing]
    notes: list[str]
    paused_ms: float | None
    exception_lost: bool = False
    """The dump has an exception that cannot be read: why it was made is not known."""
    thread_count: Annotated[
        int | UnsetType,
        Meta(description="In an incident: how many threads there were; the dump has them all."),
    ] = UNSET
    file: Annotated[
        str | UnsetType, Meta(description="By `perimortem analyze`: the file as it was named.")
    ] = UNSET
