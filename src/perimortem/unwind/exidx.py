"""Unwinding by the tables of 32-bit ARM: .ARM.exidx (functions) and .ARM.extab (instructions).

Source: "Exception Handling ABI for the Arm Architecture", 6 and 10. They describe a function after its
prologue, where it calls: inside of a prologue the frame found is accepted only if it is in code.
"""

from __future__ import annotations

import struct
from bisect import bisect_right

from perimortem.binary.elf_image import ElfImage
from perimortem.errors import MalformedInput
from perimortem.unwind.frame_data import ReadWord, Step

_PT_ARM_EXIDX = 0x70000001
_CANNOT_UNWIND = 1
_COMPACT = 1 << 31
_SP, _LR, _PC = 13, 14, 15
_FINISH = 0xB0
_START_MAX = 64
"""The code at an entry point is shorter, in bytes. Arbitrary."""
_MASK = (1 << 32) - 1


class ExceptionIndex:
    """The functions of an image. Addresses are relative to its base."""

    def __init__(self, image: ElfImage) -> None:
        self._image = image
        self._base = image.preferred_base
        self._at, data = 0, b""
        for header in image.elf.segments(_PT_ARM_EXIDX):
            self._at = header.address
            data = image.read_address(header.address, header.memory_size)
        rows = struct.iter_unpack("<II", data[: len(data) // 8 * 8])
        self._rows = [
            (_follow(self._at + 8 * index, offset) & ~1, word)
            for index, (offset, word) in enumerate(rows)
        ]
        self._starts = [start for start, _ in self._rows]
        if self._starts != sorted(self._starts):
            self._rows, self._starts = [], []  # damaged

    def unwind(self, address: int, registers: dict[int, int], read_word: ReadWord) -> Step:
        """See :class:`FrameData`."""
        index = bisect_right(self._starts, address + self._base) - 1
        if index < 0:
            raise LookupError(address)
        word = self._rows[index][1]
        if word == _CANNOT_UNWIND:  # compiled without tables; or where the program starts
            if 0 <= address + self._base - (self._image.elf.header.entry & ~1) < _START_MAX:
                return Step(dict(registers), 0)
            raise LookupError(address)
        program = self._read_program(self._at + 8 * index + 4, word)
        return _execute(program, registers, read_word)

    def _read_program(self, at: int, word: int) -> bytes:
        """Instructions of a table entry: in it, or in .ARM.extab."""
        if not word & _COMPACT:
            at = _follow(at, word)
            word = self._read_word(at)
        if not word & _COMPACT:  # a personality routine of a language, its data next
            at += 4
            word = self._read_word(at)
            return self._read_rest(at, word, skipped=1, more=word >> 24)
        model = word >> 24 & 0xF
        if model == 0:
            return word.to_bytes(4, "big")[1:]
        if model > 2:
            raise MalformedInput(f"damaged unwind information at {at:#x}")
        return self._read_rest(at, word, skipped=2, more=word >> 16 & 0xFF)

    def _read_rest(self, at: int, word: int, *, skipped: int, more: int) -> bytes:
        raw = self._image.read_address(at + 4, 4 * more)
        if len(raw) < 4 * more:
            raise MalformedInput(f"damaged unwind information at {at:#x}")
        words = (word, *struct.unpack(f"<{more}I", raw))
        return b"".join(each.to_bytes(4, "big") for each in words)[skipped:]

    def _read_word(self, at: int) -> int:
        raw = self._image.read_address(at, 4)
        if len(raw) < 4:
            raise MalformedInput(f"damaged unwind information at {at:#x}")
        return int.from_bytes(raw, "little")


def _follow(place: int, offset: int) -> int:
    """An offset of 31 bits from the word that holds it."""
    signed = (offset & 0x7FFFFFFF) - (offset << 1 & 0x80000000)
    return place + signed & _MASK


def _execute(program: bytes, registers: dict[int, int], read_word: ReadWord) -> Step:
    caller = dict(registers)
    caller.pop(_PC, None)
    at = 0
    while at < len(program):
        code = program[at]
        at += 1
        if code == _FINISH:
            break
        if code >> 6 == 0:
            caller[_SP] += ((code & 0x3F) << 2) + 4
        elif code >> 6 == 1:
            caller[_SP] -= ((code & 0x3F) << 2) + 4
        elif code == 0xB2:
            value, at = _read_uleb128(program, at)
            caller[_SP] += 0x204 + (value << 2)
        elif code >> 4 == 9 and code & 0xF not in (_SP, _PC):
            caller[_SP] = registers[code & 0xF]
        else:
            at = _pop(code, program, at, caller, read_word)
        caller[_SP] &= _MASK
    address = caller.pop(_PC, None)
    return Step(caller, caller[_LR] if address is None else address)


def _pop(code: int, program: bytes, at: int, caller: dict[int, int], read_word: ReadWord) -> int:
    """An instruction that takes registers from the stack; returns the offset of the next one."""
    if code >> 4 == 0xA:
        names = [*range(4, 5 + (code & 7)), *([_LR] if code & 8 else [])]
        _pop_registers(names, caller, read_word)
        return at
    if code >> 3 in (
        0b10111,
        0b11010,
    ):  # d8 and following; of the older form, with a word of format
        caller[_SP] += 8 * ((code & 7) + 1) + (4 if code >> 3 == 0b10111 else 0)
        return at
    if code >> 3 == 0b11000 and code & 7 < 6:
        caller[_SP] += 8 * ((code & 7) + 1)
        return at
    if at >= len(program):
        raise MalformedInput("unwind instructions without end")
    operand = program[at]
    if code >> 4 == 8 and (code & 0xF or operand):
        mask = (code & 0xF) << 8 | operand
        _pop_registers([4 + n for n in range(12) if mask >> n & 1], caller, read_word)
    elif code == 0xB1 and 0 < operand < 0x10:
        _pop_registers([n for n in range(4) if operand >> n & 1], caller, read_word)
    elif code in (0xB3, 0xC6, 0xC8, 0xC9):
        caller[_SP] += 8 * ((operand & 0xF) + 1) + (4 if code == 0xB3 else 0)
    elif code == 0xC7 and 0 < operand < 0x10:
        caller[_SP] += 4 * operand.bit_count()
    else:
        raise MalformedInput(f"an unknown unwind instruction {code:#x}")
    return at + 1


def _pop_registers(numbers: list[int], caller: dict[int, int], read_word: ReadWord) -> None:
    place = caller[_SP]
    values = [read_word(place + 4 * index) for index in range(len(numbers))]
    caller[_SP] = place + 4 * len(numbers)
    caller.update(zip(numbers, values, strict=True))


def _read_uleb128(program: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(program):
        value |= (program[at] & 0x7F) << shift
        shift += 7
        at += 1
        if program[at - 1] < 0x80:
            return value, at
    raise MalformedInput("unwind instructions without end")
