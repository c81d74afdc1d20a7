"""DWARF expressions, as far as call frame information uses them (DWARF 5, 2.5)."""

from __future__ import annotations

import operator
import struct
from collections.abc import Callable

from perimortem.errors import MalformedInput
from perimortem.unwind.dwarf.encoding import MASK, read_sleb128, read_uleb128

ReadWord = Callable[[int], int]
"""The 8 bytes at an address; raises LookupError when they cannot be read."""

_STEPS_MAX, _DEPTH_MAX = 10_000, 1_000
"""An expression may branch backwards. Arbitrary."""
_CONSTANTS = {
    0x08: "<B", 0x09: "<b", 0x0A: "<H", 0x0B: "<h", 0x0C: "<I", 0x0D: "<i", 0x0E: "<Q", 0x0F: "<q",
    0x03: "<Q",
}  # fmt: skip


def _signed(value: int) -> int:
    return value - (1 << 64) if value >> 63 else value


def _shift_left(a: int, b: int) -> int:
    return a << b if b < 64 else 0


_BINARY: dict[int, Callable[[int, int], int]] = {
    0x1A: operator.and_,
    0x1B: lambda a, b: int(_signed(a) / _signed(b)),
    0x1C: operator.sub,
    0x1D: operator.mod,
    0x1E: operator.mul,
    0x21: operator.or_,
    0x22: operator.add,
    0x24: _shift_left,
    0x25: operator.rshift,
    0x26: lambda a, b: _signed(a) >> b,
    0x27: operator.xor,
    0x29: operator.eq,
    0x2A: lambda a, b: _signed(a) >= _signed(b),
    0x2B: lambda a, b: _signed(a) > _signed(b),
    0x2C: lambda a, b: _signed(a) <= _signed(b),
    0x2D: lambda a, b: _signed(a) < _signed(b),
    0x2E: operator.ne,
}


def evaluate(
    expression: bytes, registers: dict[int, int], read_word: ReadWord, first: int | None = None
) -> int:
    """The top of the stack at its end; ``first`` is on it at the beginning.

    Raises MalformedInput, or LookupError for an unknown register or memory.
    """
    try:
        return _evaluate(expression, registers, read_word, [] if first is None else [first])
    except (IndexError, struct.error, ZeroDivisionError, OverflowError) as error:
        raise MalformedInput("a damaged DWARF expression") from error


def _evaluate(
    expression: bytes, registers: dict[int, int], read_word: ReadWord, stack: list[int]
) -> int:
    at, steps = 0, 0
    while at < len(expression):
        code = expression[at]
        at += 1
        steps += 1
        if steps > _STEPS_MAX or len(stack) > _DEPTH_MAX or at < 0:
            raise MalformedInput("a DWARF expression without end")
        if 0x30 <= code <= 0x4F:  # lit0..lit31
            stack.append(code - 0x30)
        elif 0x50 <= code <= 0x6F:  # reg0..reg31
            stack.append(registers[code - 0x50])
        elif 0x70 <= code <= 0x8F:  # breg0..breg31
            offset, at = read_sleb128(expression, at)
            stack.append(registers[code - 0x70] + offset & MASK)
        elif code == 0x92:  # bregx
            register, at = read_uleb128(expression, at)
            offset, at = read_sleb128(expression, at)
            stack.append(registers[register] + offset & MASK)
        elif code in _CONSTANTS:
            layout = _CONSTANTS[code]
            stack.append(struct.unpack_from(layout, expression, at)[0] & MASK)
            at += struct.calcsize(layout)
        elif code in _BINARY:
            second = stack.pop()
            stack[-1] = _BINARY[code](stack[-1], second) & MASK
        elif code in (0x28, 0x2F):  # bra, skip
            (jump,) = struct.unpack_from("<h", expression, at)
            at += 2
            if code == 0x2F or stack.pop():
                at += jump
        else:
            at = _manipulate(code, expression, at, stack, read_word)
    return stack[-1]


def _manipulate(
    code: int, expression: bytes, at: int, stack: list[int], read_word: ReadWord
) -> int:
    """Operations on the stack alone; returns the offset of the next operation."""
    if code == 0x06:  # deref
        stack.append(read_word(stack.pop()))
    elif code in (0x10, 0x11):  # constu, consts
        value, at = (read_uleb128 if code == 0x10 else read_sleb128)(expression, at)
        stack.append(value & MASK)
    elif code == 0x12:  # dup
        stack.append(stack[-1])
    elif code == 0x13:  # drop
        stack.pop()
    elif code == 0x14:  # over
        stack.append(stack[-2])
    elif code == 0x15:  # pick
        stack.append(stack[-1 - expression[at]])
        at += 1
    elif code == 0x16:  # swap
        stack[-1], stack[-2] = stack[-2], stack[-1]
    elif code == 0x17:  # rot
        stack[-3:] = [stack[-1], stack[-3], stack[-2]]
    elif code in (0x19, 0x1F, 0x20):  # abs, neg, not
        value = stack.pop()
        stack.append({0x19: abs(_signed(value)), 0x1F: -value, 0x20: ~value}[code] & MASK)
    elif code == 0x23:  # plus_uconst
        value, at = read_uleb128(expression, at)
        stack[-1] = stack[-1] + value & MASK
    elif code == 0x94:  # deref_size
        stack.append(read_word(stack.pop()) & (1 << 8 * expression[at]) - 1)
        at += 1
    elif code != 0x96:  # nop
        raise MalformedInput(f"an unknown DWARF operation {code:#x}")
    return at
