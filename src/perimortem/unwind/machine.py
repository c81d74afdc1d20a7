"""DWARF register numbers of each machine, and the traces that a call leaves.

Source: System V ABI AMD64, figure 3.36; System V ABI i386, table 2.14; DWARF for the Arm Architecture
(32 and 64-bit), 4.1.
"""

from __future__ import annotations

import re
from collections.abc import Callable
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
    find_target: Callable[[bytes, int], int | None]
    """find_target(code, address): where the call goes that ends ``code`` and returns to ``address``;
    None if a register or a word in memory says where."""
    word_bytes: int
    address_mask: int
    """Of a return address: without the signature of pointer authentication, or the bit of Thumb."""


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
# ARM: bl, blx to an address, blx to a register. Thumb: bl and blx (two halves), blx to a register.
_ARM_CALL = re.compile(
    rb"(?:...[\x0b\x1b\x2b\x3b\x4b\x5b\x6b\x7b\x8b\x9b\xab\xbb\xcb\xdb\xeb\xfa\xfb]"
    rb"|[\x30-\x3e]\xff\x2f[\x01-\xe1]"
    rb"|.[\xf0-\xf7].[\xc0-\xff]"
    rb"|[\x80-\xff]\x47)\Z",
    re.DOTALL,
)


def _find_x86_target(code: bytes, address: int) -> int | None:
    if len(code) < 5 or code[-5] != 0xE8:
        return None
    return address + int.from_bytes(code[-4:], "little", signed=True)


def _find_aarch64_target(code: bytes, address: int) -> int | None:
    word = int.from_bytes(code[-4:], "little")
    if len(code) < 4 or word >> 26 != 0b100101:
        return None
    return address - 4 + 4 * _sign(word, 26)


def _find_arm_target(code: bytes, address: int) -> int | None:
    """Of ARM's bl alone: without the bit of Thumb, which the caller has removed, its are not known."""
    word = int.from_bytes(code[-4:], "little")
    if len(code) < 4 or word >> 24 != 0xEB:
        return None
    return address + 4 + 4 * _sign(word, 24)


def _sign(word: int, bits: int) -> int:
    """The lowest ``bits`` of ``word``, as a signed number."""
    value = word & (1 << bits) - 1
    return value - (1 << bits) if value >> bits - 1 else value


X86_64 = Machine(
    numbers={name: number for number, name in enumerate(_X86_64_NAMES)},
    pc=16,
    sp=7,
    fp=6,
    link=None,
    call=_X86_64_CALL,
    call_bytes=7,
    find_target=_find_x86_target,
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
    find_target=_find_aarch64_target,
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
    find_target=_find_x86_target,
    word_bytes=4,
    address_mask=(1 << 32) - 1,
)

ARM = Machine(
    numbers={f"r{number}": number for number in range(13)} | {"sp": 13, "lr": 14, "pc": 15},
    pc=15,
    sp=13,
    fp=11,
    link=14,
    call=_ARM_CALL,
    call_bytes=4,
    find_target=_find_arm_target,
    word_bytes=4,
    address_mask=(1 << 32) - 2,
)

MACHINES = {
    Architecture.X86_64: X86_64,
    Architecture.AARCH64: AARCH64,
    Architecture.X86: X86,
    Architecture.ARM: ARM,
}
