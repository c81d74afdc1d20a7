"""CONTEXT records of winnt.h, which Breakpad and Crashpad write as well."""

from __future__ import annotations

import struct
from collections.abc import Mapping

_AMD64 = struct.Struct("<6Q II 6H I 6Q 16Q Q 512s 416s Q 5Q")
_AMD64_ALL = 0x10001F
_AMD64_INTEGER = (
    "rax", "rcx", "rdx", "rbx", "rsp", "rbp", "rsi", "rdi",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15",
)  # fmt: skip
_SEGMENTS = (0x33, 0x2B, 0x2B, 0x53, 0x2B, 0x2B)
"""cs, ds, es, fs, gs, ss of a program of 64 bits."""
_X86 = struct.Struct("<I 6I 112s 4I 12I 512s")
_X86_ALL = 0x1007F
_X86_INTEGER = (
    "edi", "esi", "ebx", "edx", "ecx", "eax", "ebp", "eip", "cs", "eflags", "esp", "ss",
)  # fmt: skip


def build_context(registers: Mapping[str, int], *, is_64_bit: bool) -> bytes:
    """1232 bytes of x86-64, or 716 of x86."""
    return _build_amd64(registers) if is_64_bit else _build_x86(registers)


def _build_amd64(registers: Mapping[str, int]) -> bytes:
    return _AMD64.pack(
        *bytes(6),  # home addresses of parameters
        _AMD64_ALL,
        0x1F80,  # MXCSR
        *_SEGMENTS,
        registers.get("eflags", 0x202),
        *bytes(6),  # debug registers
        *(registers.get(name, 0) for name in _AMD64_INTEGER),
        registers.get("rip", 0),
        b"",  # FXSAVE area
        b"",  # vector registers
        0,
        *bytes(5),  # debug control, last branches and exceptions
    )


def _build_x86(registers: Mapping[str, int]) -> bytes:
    return _X86.pack(
        _X86_ALL,
        *bytes(6),  # debug registers
        b"",  # FSAVE area
        *(0x2B, 0x53, 0x2B, 0x2B),  # gs, fs, es, ds
        *(registers.get(name, 0) for name in _X86_INTEGER),
        b"",  # FXSAVE area
    )
