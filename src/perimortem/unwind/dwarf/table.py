"""From an address to its row: .eh_frame by its sorted table, else .eh_frame or .debug_frame as a whole.

Folklore: static glibc programs and vmlinux have .eh_frame but no .eh_frame_hdr; Go programs have only a
compressed .debug_frame. Both are read once from end to end, and sorted.
"""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Sequence

from perimortem.binary.elf_image import ElfImage
from perimortem.errors import MalformedInput
from perimortem.unwind.dwarf.encoding import read_encoded
from perimortem.unwind.dwarf.entries import EntrySection, FunctionEntry
from perimortem.unwind.dwarf.program import iterate_rows
from perimortem.unwind.dwarf.rows import Row

_SORTED_BY_FOUR_BYTES = 0x3B
"""DW_EH_PE_datarel | DW_EH_PE_sdata4, as all linkers write it."""
_NO_ENTRY = (None, None)


class UnwindTable:
    """All frame information of one image. Addresses are the image's own (link-time)."""

    def __init__(self, image: ElfImage) -> None:
        self._cache: dict[int, tuple[FunctionEntry | None, Row | None]] = {}
        eh_frame = _open_sorted(image) or _open_plain(image, ".eh_frame")
        found = (eh_frame, _open_plain(image, ".debug_frame"))
        self._sections = [index for index in found if index is not None]

    def find(self, address: int) -> tuple[FunctionEntry | None, Row | None]:
        """The function around ``address`` and its row there; damaged information counts as none."""
        found = self._cache.get(address)
        if found is None:
            try:
                found = self._find(address)
            except MalformedInput:
                found = _NO_ENTRY
            self._cache[address] = found
        return found

    def _find(self, address: int) -> tuple[FunctionEntry | None, Row | None]:
        for section in self._sections:
            entry = section.find_entry(address)
            if entry is None or not entry.start <= address < entry.end:
                continue
            found = None
            for row in iterate_rows(entry):
                if row.start > address:
                    break
                found = row
            return entry, found
        return _NO_ENTRY

    def list_entries(self) -> list[FunctionEntry]:
        """Every function in it."""
        return [entry for section in self._sections for entry in section.list_entries()]


class _Index:
    """Starts of functions in order, and the offsets of their entries, each relative to its own base."""

    def __init__(
        self,
        section: EntrySection,
        starts: Sequence[int],
        places: Sequence[int],
        base: int = 0,
        moved: int = 0,
    ) -> None:
        """``base``: added to a start; ``moved``: added to a place, for its offset in the section."""
        self._section, self._starts, self._places = section, starts, places
        self._base, self._moved = base, moved

    def find_entry(self, address: int) -> FunctionEntry | None:
        index = bisect_right(self._starts, address - self._base) - 1
        return self._read(self._places[index]) if index >= 0 else None

    def list_entries(self) -> list[FunctionEntry]:
        entries = (self._read(place) for place in self._places)
        return [entry for entry in entries if entry is not None]

    def _read(self, place: int) -> FunctionEntry | None:
        offset = place + self._moved
        if not 0 <= offset < len(self._section.data):
            return None
        return self._section.read_entry(offset)[0]


def _open_sorted(image: ElfImage) -> _Index | None:
    header = image.eh_frame_header
    if header is None:
        return None
    address, data = header
    try:
        version, pointer_encoding, count_encoding, table_encoding = data[:4]
        pointer, at = read_encoded(data, 4, pointer_encoding, address + 4, address)
        count, at = read_encoded(data, at, count_encoding, address + at, address)
    except (IndexError, KeyError, ValueError, struct.error):
        return None
    if version != 1 or table_encoding != _SORTED_BY_FOUR_BYTES or at + 8 * count > len(data):
        return None
    table = array("i", data[at : at + 8 * count])
    if sys.byteorder == "big":
        table.byteswap()
    section = image.find_section(".eh_frame")
    size = section.size if section is not None and section.address == pointer else None
    content = image.read_address(pointer, size)
    if not content:
        return None
    entries = EntrySection(content, pointer, is_debug_frame=False, word_bytes=image.word_bytes)
    return _Index(entries, table[0::2], table[1::2], address, address - pointer)


def _open_plain(image: ElfImage, name: str) -> _Index | None:
    found = image.find_section(name)
    data = image.read_section(name)
    if found is None or not data:
        return None
    section = EntrySection(
        data,
        found.address,
        is_debug_frame=name == ".debug_frame",
        word_bytes=image.word_bytes,
    )
    starts: list[tuple[int, int]] = []
    at = 0
    while at + 4 <= len(data):
        try:
            entry, following = section.read_entry(at)
        except MalformedInput:
            break
        if entry is not None and entry.end > entry.start:
            starts.append((entry.start, at))
        # In some programs every linked object file ends with its own zero.
        at = following if following > at else at + 4
    starts.sort()
    return _Index(
        section,
        array("Q", (start for start, _ in starts)),
        array("q", (offset for _, offset in starts)),
    )
