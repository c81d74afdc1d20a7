"""struct user_regs_struct of x86-64 (sys/user.h): what ptrace and a core's NT_PRSTATUS hold."""

from __future__ import annotations

import struct

X86_64_REGISTERS = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi",
    "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs",
    "gs",
)  # fmt: skip
_LAYOUT = struct.Struct(f"<{len(X86_64_REGISTERS)}Q")
SIZE = _LAYOUT.size


def parse_registers(raw: bytes) -> dict[str, int]:
    """``raw`` has :data:`SIZE` bytes."""
    return dict(zip(X86_64_REGISTERS, _LAYOUT.unpack(raw), strict=True))


def pack_registers(registers: dict[str, int]) -> bytes:
    """:data:`SIZE` bytes; what is not in ``registers`` is zero."""
    return _LAYOUT.pack(
        *(registers.get(name, 0) & 0xFFFF_FFFF_FFFF_FFFF for name in X86_64_REGISTERS)
    )
