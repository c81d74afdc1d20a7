"""The stack of a thread: frames from the innermost on, and how each of them was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import NamedTuple

from perimortem.model.snapshot import Module


class FrameTrust(StrEnum):
    """How a frame was found, the surest first."""

    CONTEXT = "context"
    """The registers of the thread itself."""
    CFI = "cfi"
    """Call frame information of the compiler (.eh_frame, .debug_frame), or .pdata on Windows."""
    BAD_CALL = "bad-call"
    """The callee is no code: its return address is where the call has put it."""
    FRAME_POINTER = "frame-pointer"
    """The chain of frame pointers, to an address behind a call."""
    SCAN = "scan"
    """A word on the stack that looks like the return address of a call: it may be an old one."""
    PYTHON = "python"
    """Of the interpreter's own frames."""


class Language(StrEnum):
    """Whose frame it is."""

    NATIVE = "native"
    PYTHON = "python"


@dataclass(frozen=True, slots=True)
class SourceLine:
    """A place in the source; ``function`` is one that was inlined there, if any."""

    file: str
    line: int
    function: str | None = None


class Frame(NamedTuple):
    """One call. ``pc`` is where it goes on (behind the call), or stands (``is_exact``).

    A tuple, for a stack that overflowed has a million of them.
    """

    pc: int
    stack_pointer: int
    trust: FrameTrust
    module: Module | None = None
    is_exact: bool = False
    """It was interrupted there, and did not call: the innermost, or one struck by a signal."""
    is_signal: bool = False
    """What the kernel has put there to return from a signal handler."""
    function: str | None = None
    function_offset: int = 0
    inlined: tuple[SourceLine, ...] = ()
    """The functions inlined at this place, the innermost first."""
    source: SourceLine | None = None
    language: Language = Language.NATIVE

    @property
    def lookup_address(self) -> int:
        """Inside the instruction that it stands at: a call may be the last one of a function."""
        return self.pc if self.is_exact else self.pc - 1

    @property
    def module_offset(self) -> int | None:
        return None if self.module is None else self.pc - self.module.base


@dataclass(frozen=True)
class ThreadStack:
    """All frames of a thread; ``end``: why there are no more, in words."""

    tid: int
    name: str
    frames: tuple[Frame, ...]
    end: str
    is_whole: bool
    """It was followed to the outermost function."""
    notes: tuple[str, ...] = ()
    """What is known of it besides: holds the GIL, crashed."""
