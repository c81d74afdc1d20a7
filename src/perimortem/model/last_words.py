"""What a program printed before it ended."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class SaidKind(StrEnum):
    """What such a message is, by the runtime or the library that prints it."""

    GO_PANIC = "go-panic"
    GO_FATAL = "go-fatal-error"
    RUST_PANIC = "rust-panic"
    NODE_FATAL = "node-fatal-error"
    NODE_ERROR = "node-error"
    PYTHON_ERROR = "python-error"
    PYTHON_FATAL = "python-fatal-error"
    CPP_EXCEPTION = "cpp-exception"
    DOTNET_EXCEPTION = "dotnet-exception"
    SANITIZER = "sanitizer"
    JVM_FATAL = "jvm-fatal-error"
    LINKER = "dynamic-linker"
    ASSERTION = "assertion"
    HEAP = "heap-check"


@dataclass(frozen=True)
class Said:
    """A message that is recognised."""

    kind: SaidKind
    text: str
    """In one line."""
    place: str | None = None
    """Where, if the message names it: src/main.rs:12."""
    file: str | None = None
    """A file that it says it has written."""
    start: int = 0
    """Where it begins in the text."""


@dataclass(frozen=True)
class LastWords:
    """The end of its standard error."""

    text: str
    """Whole lines; the message that was recognised is in it, as far as it fits."""
    source: str
    """How it was read."""
    said: Said | None
