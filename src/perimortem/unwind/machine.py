"""DWARF register numbers of each machine, and the traces that a call leaves.

Source: System V ABI AMD64, figure 3.36; DWARF for the Arm 64-bit Architecture, 4.1.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from perimortem.model.snapshot import Architecture


@dataclass(frozen=True)
class Machine:
    """One architecture."""

    numbers: dict[str, int]
    """By the names that registers have in a snapshot."""
    pc: int
    sp: int
    fp: int
    link: int | None
    """The register that holds the return address of a leaf function."""
    call: re.Pattern[bytes]
    """A call instruction at the end of some bytes."""
    call_bytes: int
    """The length of the longest, in bytes."""
    word_bytes: int
    address_mask: int
    """Without the signature that pointer authentication puts into the upper bits."""


_X86_64_NAMES = (
    "rax", "rdx", "rcx", "rbx", "rsi", "rdi", "rbp", "rsp",
    "r8", "r9", "r10", "r11", "r12", "r13", "r14", "r15", "rip",
)  # fmt: skip

# call rel32; call r/m64 (FF /2) with register, memory, SIB, disp8, disp32, all with or without REX.
_X86_64_CALL = re.compile(
    rb"(?:\xe8.{4}"
    rb"|\xff[\xd0-\xd7]"
    rb"|\xff[\x10-\x13\x16\x17]|\xff\x14."
    rb"|\xff[\x50-\x53\x55-\x57].|\xff\x54.."
    rb"|\xff[\x15\x90-\x93\x95-\x97].{4}|\xff\x94.{5})\Z",
    re.DOTALL,
)
# bl, and blr with or without authentication; little-endian words.
_AARCH64_CALL = re.compile(
    rb"(?:...[\x94-\x97]|..\x3f[\xd6\xd7])\Z",
    re.DOTALL,
)

X86_64 = Machine(
    numbers={name: number for number, name in enumerate(_X86_64_NAMES)},
    pc=16,
    sp=7,
    fp=6,
    link=None,
    call=_X86_64_CALL,
    call_bytes=7,
    word_bytes=8,
    address_mask=(1 << 64) - 1,
)

AARCH64 = Machine(
    numbers={f"x{number}": number for number in range(31)} | {"sp": 31, "pc": 32},
    pc=32,
    sp=31,
    fp=29,
    link=30,
    call=_AARCH64_CALL,
    call_bytes=4,
    word_bytes=8,
    address_mask=(1 << 48) - 1,
)

_X86_NAMES = ("eax", "ecx", "edx", "ebx", "esp", "ebp", "esi", "edi", "eip")

X86 = Machine(
    numbers={name: number for number, name in enumerate(_X86_NAMES)},
    pc=8,
    sp=4,
    fp=5,
    link=None,
    call=_X86_64_CALL,
    call_bytes=7,
    word_bytes=4,
    address_mask=(1 << 32) - 1,
)
"""Walked by frame pointers and search only: 32-bit images are not read."""

MACHINES = {Architecture.X86_64: X86_64, Architecture.AARCH64: AARCH64, Architecture.X86: X86}
