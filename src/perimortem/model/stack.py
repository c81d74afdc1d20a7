"""The stack of a thread: frames from the innermost on, and how each of them was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from perimortem.model.snapshot import Module


class FrameTrust(StrEnum):
    """How a frame was found, most trustworthy first."""

    CONTEXT = "context"
    """The registers of the thread itself."""
    CFI = "cfi"
    """Call frame information of the compiler (.eh_frame, .debug_frame), or .pdata on Windows."""
    BAD_CALL = "bad-call"
    """The callee is not code: its return address is where the call put it."""
    LINK_REGISTER = "link-register"
    """The register that holds the return address of a function that calls nothing (ARM)."""
    FRAME_POINTER = "frame-pointer"
    """The chain of frame pointers, to an address after a call."""
    SCAN = "scan"
    """A word on the stack that looks like the return address of a call: it may be stale."""
    PYTHON = "python"
    """From the interpreter's own frames."""


class Language(StrEnum):
    """The language of a frame."""

    NATIVE = "native"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A place in the source; ``function`` is the one inlined there, if any."""

    file: str
    line: int
    function: str | None = None


class Frame(NamedTuple):
    """One call. ``pc`` is where it continues (after the call), or its current place (``is_exact``).

    A tuple, since an overflowed stack has a million of them.
    """

    pc: int
    stack_pointer: int
    trust: FrameTrust
    module: Module | None = None
    is_exact: bool = False
    """It was interrupted there, rather than calling: the innermost frame, or one hit by a signal."""
    is_signal: bool = False
    """Put there by the kernel, to return from a signal handler."""
    function: str | None = None
    function_offset: int = 0
    inlined: tuple[SourceLine, ...] = ()
    """The functions inlined at this place, the innermost first."""
    source: SourceLine | None = None
    language: Language = Language.NATIVE

    @property
    def lookup_address(self) -> int:
        """Inside the current instruction: a call may be the last one of a function."""
        return self.pc if self.is_exact else self.pc - 1

    @property
    def module_offset(self) -> int | None:
        return None if self.module is None else self.pc - self.module.base


@dataclass(frozen=True)
class ThreadStack:
    """All frames of a thread; ``end``: why there are no more, as text."""

    tid: int
    name: str
    frames: tuple[Frame, ...]
    end: str
    is_whole: bool
    """It was walked to the outermost function."""
    notes: tuple[str, ...] = ()
    """Additional facts: holds the GIL, crashed."""
