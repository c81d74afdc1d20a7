"""Why a process crashed: what it did, to what, and the likely culprit."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perimortem.model.evidence import Evidence


class ReasonKind(StrEnum):
    """What went wrong, in one word."""

    NULL_POINTER = "null-pointer"
    STACK_OVERFLOW = "stack-overflow"
    JUMP_TO_NOWHERE = "jump-to-nowhere"
    NOT_EXECUTABLE = "not-executable"
    READ_ONLY = "read-only"
    UNMAPPED = "unmapped"
    POISONED_POINTER = "poisoned-pointer"
    """A value with which allocators and debuggers fill freed or new memory."""
    NON_CANONICAL = "non-canonical"
    """Not a valid address: damaged, or text used as a pointer."""
    PROTECTED = "protected"
    FILE_CUT = "file-cut"
    MISALIGNED = "misaligned"
    DIVISION = "division"
    FLOATING_POINT = "floating-point"
    ILLEGAL_INSTRUCTION = "illegal-instruction"
    TRAP = "trap"
    """ud2, int3: inserted by the compiler or a macro, to end the program."""
    ASSERTION = "assertion"
    HEAP_CORRUPTION = "heap-corruption"
    STACK_SMASHING = "stack-smashing"
    BUFFER_OVERFLOW = "buffer-overflow"
    UNCAUGHT_EXCEPTION = "uncaught-exception"
    PANIC = "panic"
    ABORT = "abort"
    FAST_FAIL = "fast-fail"
    FORBIDDEN_CALL = "forbidden-call"
    """A system call that seccomp refuses."""
    OTHER = "other"


class AccessKind(StrEnum):
    """Of memory."""

    READ = "read"
    WRITE = "write"
    EXECUTE = "execute"
    UNKNOWN = "access"


@dataclass(frozen=True)
class MemoryOperand:
    """Memory that an instruction names: base + index * scale + displacement."""

    base: str | None
    index: str | None
    scale: int
    displacement: int
    size: int
    reads: bool
    writes: bool
    segment: str | None = None


@dataclass(frozen=True)
class Instruction:
    """One machine instruction."""

    address: int
    text: str
    size: int
    operands: tuple[MemoryOperand, ...]
    feature: str | None = None
    """What a processor needs to have it ("AVX-512"), if not every one has."""


@dataclass(frozen=True)
class Access:
    """What the faulting instruction did to memory. ``size`` in bytes, None when not known."""

    kind: AccessKind
    address: int
    size: int | None = None
    expression: str | None = None
    """ "[rbx + 0x10]"."""
    registers: tuple[tuple[str, int], ...] = ()
    """Those of the expression, with their values."""


@dataclass(frozen=True)
class Reason:
    """``text`` is one sentence; ``evidence`` its basis."""

    kind: ReasonKind
    text: str
    exception: str
    tid: int
    instruction: str | None = None
    access: Access | None = None
    message: str | None = None
    """The message of the program, its library or runtime when it aborted."""
    thrown_type: str | None = None
    first_frame: int = 0
    """Of the crashed thread's stack: the frames within it are those of a handler of the fault."""
    evidence: tuple[Evidence, ...] = ()


@dataclass(frozen=True)
class Signature:
    """``text`` groups crashes of one cause; ``blamed_module``, ``blamed_frame``: the likely culprit."""

    text: str
    blamed_frame: int | None
    """Its index in the crashed thread's stack."""
    blamed_function: str | None
    blamed_module: str | None
