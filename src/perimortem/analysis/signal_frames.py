"""Signal handlers on a stack: what interrupted the program there, and with which registers. Pure.

Source: struct rt_sigframe of Linux, arch/x86/include/asm/sigframe.h and arch/arm64/kernel/signal.c.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from perimortem.analysis.crash_context import CrashContext
from perimortem.model.snapshot import Architecture, Registers

_FRAMES_MAX = 256
_SIGINFO = struct.Struct("<iii4xQ")
"""Number, errno, si_code; the address of a fault."""


@dataclass(frozen=True)
class _Layout:
    """Of a signal frame, from the stack pointer on that its handler returned with."""

    siginfo_at: int
    registers_at: int
    names: tuple[str, ...]


_LAYOUTS = {
    Architecture.X86_64: _Layout(
        304,
        40,
        ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx",
         "rax", "rcx", "rsp", "rip", "eflags"),
    ),
    Architecture.AARCH64: _Layout(
        0, 312, (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate")
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Interruption:
    """A signal that a handler of the program has been called for."""

    index: int
    """Of its frame on the stack: the handler is within it, what was interrupted is around it."""
    signal: int
    code: int
    """si_code, signed."""
    address: int
    registers: Registers
    """Where it interrupted."""


def list_interruptions(context: CrashContext) -> Iterator[Interruption]:
    """The innermost first; those whose frame the dump does not have are left out."""
    layout = _LAYOUTS.get(context.snapshot.system.architecture)
    if layout is None:
        return
    for index, frame in enumerate(context.stack.frames[:_FRAMES_MAX]):
        if not frame.is_signal:
            continue
        info = context.read(frame.stack_pointer + layout.siginfo_at, _SIGINFO.size)
        size = 8 * len(layout.names)
        saved = context.read(frame.stack_pointer + layout.registers_at, size)
        if len(info) < _SIGINFO.size or len(saved) < size:
            continue
        number, _, code, address = _SIGINFO.unpack(info)
        values = struct.unpack(f"<{len(layout.names)}Q", saved)
        registers = Registers(dict(zip(layout.names, values, strict=True)))
        yield Interruption(index, number, code, address if code > 0 else 0, registers)
