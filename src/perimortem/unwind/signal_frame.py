"""Signal frames on the stack, for code without frame information about them.

glibc's trampoline has CFI for the interrupted registers. That of Go, musl, static programs and 32-bit
ARM does not: there the code of the trampoline identifies it, as in gdb.
Source: struct rt_sigframe, sigframe and sigcontext of Linux, arch/x86, arch/arm and arch/arm64.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass

from perimortem.model.snapshot import Architecture


@dataclass(frozen=True)
class SignalFrame:
    """One kind: the code that returns from it, and where it has the registers."""

    code: bytes
    start: int
    """From the stack pointer, as the handler returned, to the first register, in bytes."""
    order: tuple[int | None, ...]
    """The DWARF numbers of the registers there; None for a word that is something else."""
    word_bytes: int
    pointer_at: int | None = None
    """Where the address of the record is that ``start`` counts from, if not in the frame itself."""


_X86_ORDER = (7, 6, 5, 4, 3, 2, 1, 0)
"""edi, esi, ebp, esp, ebx, edx, ecx, eax."""
_X86_REST = (None, None, 8)
"""Trap number, error code, eip."""
_ARM_ORDER = tuple(range(16))
_ARM_REGISTERS = 20 + 12
"""In a ucontext: after flags, link, stack; trap number, error code, old mask."""
_SIGINFO = 128

_FRAMES: dict[Architecture, tuple[SignalFrame, ...]] = {
    Architecture.X86_64: (
        SignalFrame(
            bytes.fromhex("48c7c00f0000000f05"),  # mov $15,%rax; syscall
            40,
            (8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16),
            8,
        ),
    ),
    Architecture.AARCH64: (
        SignalFrame(
            struct.pack("<II", 0xD2801168, 0xD4000001),  # mov x8,#139; svc #0
            _SIGINFO + 176 + 8,  # and the head of ucontext, and the fault address
            tuple(range(33)),
            8,
        ),
    ),
    Architecture.X86: (
        SignalFrame(  # of a handler with SA_SIGINFO: number, siginfo, ucontext
            bytes.fromhex("b8ad000000cd80"),  # mov $173,%eax; int $0x80
            20 + 16,  # the head of ucontext, and gs, fs, es, ds
            _X86_ORDER + _X86_REST,
            4,
            pointer_at=8,
        ),
        SignalFrame(
            bytes.fromhex("58b877000000cd80"),  # pop %eax; mov $119,%eax; int $0x80
            4 + 16,
            _X86_ORDER + _X86_REST,
            4,
        ),
    ),
    Architecture.ARM: tuple(
        SignalFrame(code, start + _ARM_REGISTERS, _ARM_ORDER, 4)
        for code, start in (
            (struct.pack("<II", 0xE3A070AD, 0xEF000000), _SIGINFO),  # mov r7,#173; svc 0
            (struct.pack("<HH", 0x27AD, 0xDF00), _SIGINFO),  # the same in Thumb
            (struct.pack("<II", 0xE3A07077, 0xEF000000), 0),  # mov r7,#119; svc 0
            (struct.pack("<HH", 0x2777, 0xDF00), 0),
        )
    ),
}
TRAMPOLINE_BYTES = max(len(frame.code) for frames in _FRAMES.values() for frame in frames)


def find_signal_frame(architecture: Architecture, code: bytes) -> SignalFrame | None:
    """The kind that ``code`` returns from; None if it is other code."""
    return next((f for f in _FRAMES.get(architecture, ()) if code.startswith(f.code)), None)


def read_interrupted(
    frame: SignalFrame, stack_pointer: int, read_word: Callable[[int], int]
) -> dict[int, int]:
    """The interrupted registers; ``stack_pointer`` as the handler returned. Raises LookupError."""
    base = stack_pointer
    if frame.pointer_at is not None:
        base = read_word(stack_pointer + frame.pointer_at)
    start = base + frame.start
    return {
        number: read_word(start + frame.word_bytes * index)
        for index, number in enumerate(frame.order)
        if number is not None
    }
