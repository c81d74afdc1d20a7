"""Numbers as DWARF writes them: LEB128, and the pointer encodings of .eh_frame (DW_EH_PE_*).

Source: DWARF 5, 7.6; Linux Standard Base, "DWARF Extensions". Readers take (data, at) and return
(value, offset after it); truncated data raises IndexError or struct.error, which the callers handle.
"""

from __future__ import annotations

import struct

OMITTED = 0xFF
_FORMAT, _APPLICATION = 0x0F, 0x70
_ULEB128, _SLEB128 = 0x01, 0x09
_RELATIVE_TO_PLACE, _RELATIVE_TO_DATA = 0x10, 0x30
_FIXED = {
    0x00: struct.Struct("<Q"),
    0x02: struct.Struct("<H"),
    0x03: struct.Struct("<I"),
    0x04: struct.Struct("<Q"),
    0x0A: struct.Struct("<h"),
    0x0B: struct.Struct("<i"),
    0x0C: struct.Struct("<q"),
}
MASK = (1 << 64) - 1


def read_uleb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7


def read_sleb128(data: bytes, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        shift += 7
        if byte < 0x80:
            return value - (1 << shift) if byte & 0x40 else value, at


def read_encoded(
    data: bytes, at: int, encoding: int, place: int, data_base: int = 0
) -> tuple[int, int]:
    """``place``: the address of the byte at ``at``; ``data_base``: what "relative to data" means.

    Raises KeyError for an encoding that does not exist. An indirect pointer (0x80) is not followed.
    """
    if encoding == OMITTED:
        return 0, at
    kind = encoding & _FORMAT
    if kind == _ULEB128:
        value, end = read_uleb128(data, at)
    elif kind == _SLEB128:
        value, end = read_sleb128(data, at)
    else:
        layout = _FIXED[kind]
        (value,) = layout.unpack_from(data, at)
        end = at + layout.size
    application = encoding & _APPLICATION
    if value and application == _RELATIVE_TO_PLACE:
        value += place
    elif value and application == _RELATIVE_TO_DATA:
        value += data_base
    return value & MASK, end
