"""Registers as the CONTEXT records of winnt.h: x86-64 both ways, aarch64, ARM and x86 to be read."""

from __future__ import annotations

import struct

from perimortem.minidump import format as layout
from perimortem.model.snapshot import Architecture, Registers

_NO_CALL = (1 << 64) - 1
"""orig_rax of a thread that is in no system call; a minidump does not record it."""


def write_context(registers: Registers) -> bytes:
    """1232 bytes; what a Linux thread has no counterpart of stays zero."""
    context = bytearray(layout.CONTEXT_AMD64_SIZE)
    general = registers.general
    struct.pack_into("<I", context, layout.CONTEXT_AMD64_FLAGS_OFFSET, layout.CONTEXT_AMD64_FLAGS)
    struct.pack_into(
        "<6H",
        context,
        layout.CONTEXT_AMD64_SEGMENTS_OFFSET,
        *(general[name] & 0xFFFF for name in layout.CONTEXT_AMD64_SEGMENTS),
    )
    eflags = general["eflags"] & 0xFFFFFFFF
    struct.pack_into("<I", context, layout.CONTEXT_AMD64_EFLAGS_OFFSET, eflags)
    for name, offset in layout.CONTEXT_AMD64_REGISTERS.items():
        struct.pack_into("<Q", context, offset, general[name])
    floating = registers.floating_point
    if floating is not None and len(floating) == layout.CONTEXT_AMD64_FLOAT_SIZE:
        # user_fpregs_struct is the FXSAVE area; MXCSR is at its offset 24.
        start = layout.CONTEXT_AMD64_FLOAT_OFFSET
        context[start : start + len(floating)] = floating
        mxcsr = layout.CONTEXT_AMD64_MXCSR_OFFSET
        context[mxcsr : mxcsr + 4] = floating[24:28]
    return bytes(context)


def read_registers(raw: bytes, architecture: Architecture) -> Registers | None:
    """None when it is no CONTEXT of that machine."""
    if architecture is Architecture.AARCH64:
        return _read_registers_arm64(raw)
    if architecture is Architecture.ARM:
        return _read_registers_arm(raw)
    if architecture is Architecture.X86:
        return _read_registers_x86(raw)
    return read_registers_amd64(raw) if architecture is Architecture.X86_64 else None


def _read_registers_x86(raw: bytes) -> Registers | None:
    if len(raw) < layout.CONTEXT_X86_HEAD:
        return None
    (flags,) = struct.unpack_from("<I", raw)
    if not flags & layout.CONTEXT_X86:
        return None
    values = struct.unpack_from("<11I", raw, layout.CONTEXT_X86_REGISTERS_OFFSET)
    return Registers(dict(zip(layout.CONTEXT_X86_REGISTERS, values, strict=True)))


def _read_registers_arm(raw: bytes) -> Registers | None:
    if len(raw) < layout.CONTEXT_ARM_HEAD:
        return None
    (flags,) = struct.unpack_from("<I", raw)
    if not flags & layout.CONTEXT_ARM:
        return None
    *values, status = struct.unpack_from("<17I", raw, 4)
    names = (*(f"r{number}" for number in range(13)), "sp", "lr", "pc")
    return Registers(dict(zip(names, values, strict=True)) | {"cpsr": status})


def _read_registers_arm64(raw: bytes) -> Registers | None:
    """CONTEXT of Windows, which Breakpad has taken over, or Breakpad's older one."""
    if len(raw) < layout.CONTEXT_ARM64_HEAD:
        return None
    (flags,) = struct.unpack_from("<I", raw)
    if flags & layout.CONTEXT_ARM64:
        (status,) = struct.unpack_from("<I", raw, 4)
        values = struct.unpack_from("<33Q", raw, 8)
    elif flags & layout.CONTEXT_ARM64_OLD:
        values = struct.unpack_from("<33Q", raw, 8)
        (status,) = struct.unpack_from("<I", raw, 8 + 33 * 8)
    else:
        return None
    names = (*(f"x{number}" for number in range(31)), "sp", "pc")
    return Registers(dict(zip(names, values, strict=True)) | {"pstate": status})


def read_registers_amd64(raw: bytes) -> Registers | None:
    """All that an x86-64 CONTEXT has; None when it is not one. fs_base is not in it."""
    general = read_context_amd64(raw)
    if general is None:
        return None
    segments = struct.unpack_from("<6H", raw, layout.CONTEXT_AMD64_SEGMENTS_OFFSET)
    (eflags,) = struct.unpack_from("<I", raw, layout.CONTEXT_AMD64_EFLAGS_OFFSET)
    general |= dict(zip(layout.CONTEXT_AMD64_SEGMENTS, segments, strict=True))
    general |= {"eflags": eflags, "orig_rax": _NO_CALL, "fs_base": 0, "gs_base": 0}
    start = layout.CONTEXT_AMD64_FLOAT_OFFSET
    return Registers(general, raw[start : start + layout.CONTEXT_AMD64_FLOAT_SIZE])


def read_context_amd64(raw: bytes) -> dict[str, int] | None:
    """The general registers of an x86-64 CONTEXT; None when it is not one."""
    if len(raw) < layout.CONTEXT_AMD64_SIZE:
        return None
    (flags,) = struct.unpack_from("<I", raw, layout.CONTEXT_AMD64_FLAGS_OFFSET)
    if not flags & 0x100000:
        return None
    return {
        name: struct.unpack_from("<Q", raw, offset)[0]
        for name, offset in layout.CONTEXT_AMD64_REGISTERS.items()
    }
