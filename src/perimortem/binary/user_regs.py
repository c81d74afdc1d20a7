"""What ptrace and a core's NT_PRSTATUS hold: struct user_regs_struct of x86-64 (sys/user.h), struct
user_pt_regs of aarch64 (asm/ptrace.h)."""

from __future__ import annotations

import struct

X86_64_REGISTERS = (
    "r15", "r14", "r13", "r12", "rbp", "rbx", "r11", "r10", "r9", "r8", "rax", "rcx", "rdx", "rsi",
    "rdi", "orig_rax", "rip", "cs", "eflags", "rsp", "ss", "fs_base", "gs_base", "ds", "es", "fs",
    "gs",
)  # fmt: skip
_LAYOUT = struct.Struct(f"<{len(X86_64_REGISTERS)}Q")
SIZE = _LAYOUT.size
AARCH64_REGISTERS = (*(f"x{number}" for number in range(31)), "sp", "pc", "pstate")
_AARCH64_LAYOUT = struct.Struct(f"<{len(AARCH64_REGISTERS)}Q")
AARCH64_SIZE = _AARCH64_LAYOUT.size


def parse_registers(raw: bytes) -> dict[str, int]:
    """``raw`` has :data:`SIZE` bytes."""
    return dict(zip(X86_64_REGISTERS, _LAYOUT.unpack(raw), strict=True))


def parse_aarch64_registers(raw: bytes) -> dict[str, int]:
    """``raw`` has :data:`AARCH64_SIZE` bytes."""
    return dict(zip(AARCH64_REGISTERS, _AARCH64_LAYOUT.unpack(raw), strict=True))


def pack_registers(registers: dict[str, int]) -> bytes:
    """:data:`SIZE` bytes; what is not in ``registers`` is zero."""
    return _LAYOUT.pack(
        *(registers.get(name, 0) & 0xFFFF_FFFF_FFFF_FFFF for name in X86_64_REGISTERS)
    )
