"""Where the members of a structure lie, from the debugging information of an ELF file. Pure.

Only what one structure needs: the entries of the compilation unit that defines it, up to its definition.
Source: DWARF 4 and 5, chapter 7 (7.5: .debug_info and .debug_abbrev).
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass

from perimortem.binary.elf_image import ElfImage
from perimortem.unwind.dwarf.encoding import read_sleb128, read_uleb128

_NAME, _MEMBER_AT = 0x03, 0x38
_COMPILE_UNIT, _STRUCTURE, _MEMBER = 0x11, 0x13, 0x0D
_UNIT_COMPILE = 1
_FIXED = {
    0x01: 8, 0x0B: 1, 0x05: 2, 0x06: 4, 0x07: 8, 0x1E: 16, 0x0C: 1, 0x11: 1, 0x12: 2, 0x13: 4,
    0x14: 8, 0x19: 0, 0x20: 8, 0x25: 1, 0x26: 2, 0x27: 3, 0x28: 4, 0x29: 1, 0x2A: 2, 0x2B: 3,
    0x2C: 4,
}  # fmt: skip
"""Sizes of the forms that have one."""
_OFFSETS = frozenset({0x0E, 0x10, 0x17, 0x1F, 0x1D, 0x1C})
"""Forms of four bytes in 32-bit DWARF: strp, ref_addr, sec_offset, line_strp, strp_sup, ref_sup4."""
_STRINGS = {0x0E: ".debug_str", 0x1F: ".debug_line_str"}
"""The sections that names are in, by form."""
_NAME_MAX = 4096
_UNSIGNED = frozenset({0x0F, 0x15, 0x1A, 0x1B, 0x22, 0x23})
_SIGNED, _STRING, _IMPLICIT, _INDIRECT = 0x0D, 0x08, 0x21, 0x16
_BLOCKS = {0x0A: 1, 0x03: 2, 0x04: 4}
"""By the size of their length; others begin with a LEB128."""
_LEB_BLOCKS = frozenset({0x09, 0x18})
_ENTRIES_MAX = 2_000_000
_MEMBERS_MAX = 4096


@dataclass(frozen=True)
class _Abbreviation:
    tag: int
    has_children: bool
    attributes: tuple[tuple[int, int, int], ...]
    """(name, form, constant of an implicit one)."""


def find_struct(image: ElfImage, unit: str, name: str) -> dict[str, int]:
    """The offset of each member, by name; empty if this is not described.

    ``unit``: the name of the compilation unit that defines it; several may have that name."""
    try:
        info = image.read_section(".debug_info")
        described = image.read_section(".debug_abbrev")
        strings = {form: image.read_section(section) for form, section in _STRINGS.items()}
        for begin, end, abbreviations in _list_units(info):
            known = dict(_read_abbreviations(described, abbreviations))
            entries = _Entries(info, begin, end, known, strings)
            is_wanted = entries.read_unit_name() == unit.encode()
            found = entries.find_struct(name.encode()) if is_wanted else {}
            if found:
                return found
        return {}
    except (IndexError, struct.error, KeyError, ValueError):
        return {}


def _list_units(info: bytes) -> Iterator[tuple[int, int, int]]:
    """(first entry, end, where its abbreviations are); 64-bit DWARF ends it."""
    at = 0
    while at + 12 <= len(info):
        size, version = struct.unpack_from("<IH", info, at)
        if size < 8 or size >= 0xFFFFFFF0 or not 4 <= version <= 5:
            return
        end = min(at + 4 + size, len(info))
        if version == 5:
            kind, abbreviations_at = struct.unpack_from("<B1xI", info, at + 6)
            first = at + 12
        else:
            kind, first = _UNIT_COMPILE, at + 11
            (abbreviations_at,) = struct.unpack_from("<I", info, at + 6)
        if kind == _UNIT_COMPILE:
            yield first, end, abbreviations_at
        at = end


def _read_abbreviations(data: bytes, at: int) -> Iterator[tuple[int, _Abbreviation]]:
    while True:
        code, at = read_uleb128(data, at)
        if not code:
            return
        tag, at = read_uleb128(data, at)
        has_children = bool(data[at])
        at += 1
        attributes = []
        while True:
            name, at = read_uleb128(data, at)
            form, at = read_uleb128(data, at)
            constant = 0
            if form == _IMPLICIT:
                constant, at = read_sleb128(data, at)
            if not name and not form:
                break
            attributes.append((name, form, constant))
        yield code, _Abbreviation(tag, has_children, tuple(attributes))


class _Entries:
    """Of one unit, in order."""

    def __init__(
        self,
        info: bytes,
        begin: int,
        end: int,
        known: dict[int, _Abbreviation],
        strings: dict[int, bytes],
    ) -> None:
        """``strings``: where names may be, by form."""
        self._info, self._at, self._end, self._known = info, begin, end, known
        self._strings = strings

    def read_unit_name(self) -> bytes:
        """Consumes the entry of the unit."""
        entry = self._read()
        return entry[1] if entry is not None and entry[0].tag == _COMPILE_UNIT else b""

    def find_struct(self, name: bytes) -> dict[str, int]:
        for _ in range(_ENTRIES_MAX):
            if self._at >= self._end:
                break
            entry = self._read()
            if entry is not None and entry[0].tag == _STRUCTURE and entry[1] == name:
                return self._read_members() if entry[0].has_children else {}
        return {}

    def _read_members(self) -> dict[str, int]:
        found = {}
        for _ in range(_MEMBERS_MAX):
            entry = self._read()
            if entry is None:
                break
            kind, name, offset = entry
            if kind.tag == _MEMBER:
                found[name.decode("utf-8", "replace")] = offset
        return found

    def _read(self) -> tuple[_Abbreviation, bytes, int] | None:
        """(kind, name, offset as a member); None at the end of the children of one."""
        code, self._at = read_uleb128(self._info, self._at)
        if not code:
            return None
        kind = self._known[code]
        name, offset = b"", 0
        for attribute, form, constant in kind.attributes:
            begin = self._at
            value = self._skip(form)
            if attribute == _NAME:
                name = self._read_name(form, begin)
            elif attribute == _MEMBER_AT:
                offset = constant if form == _IMPLICIT else value
        return kind, name, offset

    def _read_name(self, form: int, at: int) -> bytes:
        """Of an attribute that begins there; empty for the forms of split DWARF."""
        strings = self._info if form == _STRING else self._strings.get(form, b"")
        if form != _STRING:
            at = int.from_bytes(self._info[at : at + 4], "little")
        end = strings.find(b"\0", at, at + _NAME_MAX)
        return strings[at:end] if end >= 0 else b""

    def _skip(self, form: int) -> int:
        """The value, if it is a number."""
        info, at = self._info, self._at
        value = 0
        if form in _FIXED:
            end = at + _FIXED[form]
            value = int.from_bytes(info[at:end], "little")
        elif form in _OFFSETS:
            end = at + 4
        elif form == _STRING:
            end = info.index(b"\0", at) + 1
        elif form in _UNSIGNED:
            value, end = read_uleb128(info, at)
        elif form == _SIGNED:
            value, end = read_sleb128(info, at)
        elif form in _BLOCKS:
            width = _BLOCKS[form]
            end = at + width + int.from_bytes(info[at : at + width], "little")
        elif form in _LEB_BLOCKS:
            size, begin = read_uleb128(info, at)
            end = begin + size
        elif form == _INDIRECT:
            inner, self._at = read_uleb128(info, at)
            return self._skip(inner) if inner != _INDIRECT else 0
        elif form == _IMPLICIT:
            end = at
        else:
            raise ValueError(f"form {form:#x}")
        if end > self._end:
            raise IndexError
        self._at = end
        return value
