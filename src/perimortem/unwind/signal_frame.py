"""Signal frames on the stack, for code without frame information about them.

glibc's trampoline has CFI for the interrupted registers. That of Go, musl and static programs with
others does not: there the code of the trampoline identifies it, as in gdb.
Source: struct rt_sigframe and sigcontext of Linux, arch/x86 and arch/arm64.
"""

from __future__ import annotations

import struct
from collections.abc import Callable

from perimortem.model.snapshot import Architecture
from perimortem.unwind.machine import Machine

_TRAMPOLINES = {
    Architecture.X86_64: bytes.fromhex("48c7c00f0000000f05"),  # mov $15,%rax; syscall
    Architecture.AARCH64: struct.pack("<II", 0xD2801168, 0xD4000001),  # mov x8,#139; svc #0
}
TRAMPOLINE_BYTES = 9
_X86_64_CONTEXT = 40
_X86_64_ORDER = (8, 9, 10, 11, 12, 13, 14, 15, 5, 4, 6, 3, 1, 0, 2, 7, 16)
"""r8..r15, rdi, rsi, rbp, rbx, rdx, rax, rcx, rsp, rip, as DWARF numbers them."""
_AARCH64_CONTEXT = 128 + 176 + 8
"""After siginfo, the head of ucontext and the fault address: x0..x30, sp, pc."""


def is_trampoline(architecture: Architecture, code: bytes) -> bool:
    wanted = _TRAMPOLINES.get(architecture)
    return wanted is not None and code.startswith(wanted)


def read_interrupted(
    machine: Machine, stack_pointer: int, read_word: Callable[[int], int]
) -> dict[int, int]:
    """The interrupted registers; ``stack_pointer`` as the handler returned.

    Raises LookupError.
    """
    if machine.link is None:
        start = stack_pointer + _X86_64_CONTEXT
        return {n: read_word(start + 8 * index) for index, n in enumerate(_X86_64_ORDER)}
    start = stack_pointer + _AARCH64_CONTEXT
    return {number: read_word(start + 8 * number) for number in range(33)}
