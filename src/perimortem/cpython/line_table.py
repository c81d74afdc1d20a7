"""From an instruction to its line: co_linetable of 3.11 and later.

Source: Objects/locations.md of CPython (InternalDocs/code_objects.md since 3.14).
"""

from __future__ import annotations

_UNIT = 2
"""Bytes of an instruction."""
_NONE, _LONG, _NO_COLUMNS = 15, 14, 13


def find_line(table: bytes, first_line: int, offset: int) -> int | None:
    """``offset``: of the instruction in its code, in bytes. None: it has no line, or the table ends."""
    line, start, at = first_line, 0, 0
    while at < len(table):
        head = table[at]
        at += 1
        kind = head >> 3 & 15
        end = start + ((head & 7) + 1) * _UNIT
        if kind in (_LONG, _NO_COLUMNS):
            delta, at = _read_signed(table, at)
            line += delta
            for _ in range(3 if kind == _LONG else 0):
                _, at = _read_number(table, at)
        elif 10 <= kind <= 12:
            line += kind - 10
            at += 2
        elif kind != _NONE:
            at += 1
        if offset < end:
            return None if kind == _NONE else line
        start = end
    return None


def _read_number(table: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while at < len(table):
        byte = table[at]
        at += 1
        value |= (byte & 63) << shift
        shift += 6
        if not byte & 64:
            break
    return value, at


def _read_signed(table: bytes, at: int) -> tuple[int, int]:
    value, at = _read_number(table, at)
    return (-(value >> 1) if value & 1 else value >> 1), at
