"""Signal handlers on a stack: what interrupted the program there, and with which registers. Pure.

The kernel leaves siginfo only for handlers that asked for it (SA_SIGINFO). For others there is what the
processor said of its last fault, which may be an earlier one: it has to fit the interrupted instruction.
Source: struct rt_sigframe and sigcontext of Linux, arch/x86/include/asm/sigframe.h and
arch/arm64/kernel/signal.c; traps: Intel SDM 3, 6.15.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from perimortem.analysis.crash_context import CrashContext
from perimortem.model.snapshot import Architecture, Registers

FAULTS = frozenset({4, 5, 7, 8, 11, 31})
"""SIGILL, SIGTRAP, SIGBUS, SIGFPE, SIGSEGV, SIGSYS."""
_FRAMES_MAX = 256
_CODE_MAX = 0x80
_SIGINFO = struct.Struct("<iii4xQ")
"""Number, errno, si_code; the address of a fault."""
_PAGE_FAULT = 14
_TRAPS = {
    0: (8, 1), 3: (5, 0x80), 6: (4, 2), 13: (11, 0x80), _PAGE_FAULT: (11, 1), 16: (8, 7), 17: (7, 1),
    19: (8, 7),
}  # fmt: skip
"""By number of x86: the signal that the kernel makes of it, and its si_code."""


@dataclass(frozen=True)
class _Layout:
    """Of a signal frame, from the stack pointer on that its handler returned with."""

    siginfo_at: int
    registers_at: int
    names: tuple[str, ...]
    trap_at: int | None
    """Number of the last trap; None: there is none."""
    address_at: int
    """Address of the last page fault."""


_LAYOUTS = {
    Architecture.X86_64: _Layout(
        304,
        40,
        ("r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rdi", "rsi", "rbp", "rbx", "rdx",
         "rax", "rcx", "rsp", "rip", "eflags"),
        200,
        216,
    ),
    Architecture.AARCH64: _Layout(
        0, 312, (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate"), None, 304
    ),
}  # fmt: skip


@dataclass(frozen=True)
class Interruption:
    """A fault that a handler of the program has been called for."""

    index: int
    """Of its frame on the stack: the handler is within it, what was interrupted is around it."""
    signal: int
    code: int
    """si_code."""
    address: int
    registers: Registers
    """Where it interrupted."""
    is_certain: bool
    """The kernel says so; else the processor's last fault, which may have been an earlier one."""


def list_faults(context: CrashContext) -> Iterator[Interruption]:
    """The innermost first; those whose frame the dump does not have are left out."""
    layout = _LAYOUTS.get(context.snapshot.system.architecture)
    if layout is None:
        return
    for index, frame in enumerate(context.stack.frames[:_FRAMES_MAX]):
        if not frame.is_signal:
            continue
        start = frame.stack_pointer
        size = 8 * len(layout.names)
        saved = context.read(start + layout.registers_at, size)
        found = _read_siginfo(context, start, layout) or _read_trap(context, start, layout)
        if found is None or len(saved) < size:
            continue
        values = struct.unpack(f"<{len(layout.names)}Q", saved)
        registers = Registers(dict(zip(layout.names, values, strict=True)))
        signal, code, address, is_certain = found
        yield Interruption(index, signal, code, address, registers, is_certain)


_Found = tuple[int, int, int, bool]
"""Signal, si_code, address, whether it is certain."""


def _read_siginfo(context: CrashContext, start: int, layout: _Layout) -> _Found | None:
    """None if it is not that of a fault."""
    raw = context.read(start + layout.siginfo_at, _SIGINFO.size)
    if len(raw) < _SIGINFO.size:
        return None
    signal, errno, code, address = _SIGINFO.unpack(raw)
    is_fault = signal in FAULTS and errno == 0 and 0 < code <= _CODE_MAX
    return (signal, code, address, True) if is_fault else None


def _read_trap(context: CrashContext, start: int, layout: _Layout) -> _Found | None:
    address = context.read_word(start + layout.address_at)
    if address is None:
        return None
    if layout.trap_at is None:
        return (11, 1, address, False) if address else None
    trap = context.read_word(start + layout.trap_at)
    signal, code = _TRAPS.get(trap if trap is not None else -1, (0, 0))
    return (signal, code, address if trap == _PAGE_FAULT else 0, False) if signal else None
