"""Lines from DWARF through pyelftools, imported on first use. Each compilation unit is read when needed.

Source: DWARF 5, 6.2 (lines), 3.3 (functions and inlined functions).
"""

from __future__ import annotations

import posixpath
from bisect import bisect_right
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from perimortem.model.stack import SourceLine

BYTES_MAX = 256 << 20
"""Of debug information, compressed or not: it is read as a whole."""
_HOPS_MAX = 8
"""From a function to what it is a copy of."""
_FUNCTIONS = ("DW_TAG_subprogram", "DW_TAG_inlined_subroutine")
_NAMES = ("DW_AT_linkage_name", "DW_AT_MIPS_linkage_name", "DW_AT_name")


@dataclass(frozen=True)
class _Function:
    """A function, or one that was inlined at a place of another."""

    ranges: tuple[tuple[int, int], ...]
    depth: int
    name: str | None
    call_file: int
    call_line: int

    def has(self, address: int) -> bool:
        return any(start <= address < end for start, end in self.ranges)


class _Unit:
    """One compilation unit."""

    def __init__(self, dwarf: Any, unit: Any) -> None:
        self._dwarf, self._unit = dwarf, unit
        self._top = unit.get_top_DIE()
        program = dwarf.line_program_for_CU(unit)
        self._header = program.header if program is not None else {}
        states = (entry.state for entry in program.get_entries()) if program is not None else ()
        rows = [(s.address, not s.end_sequence, s.file, s.line) for s in states if s is not None]
        self._rows = sorted(rows, key=lambda row: row[:2])
        self._starts = [row[0] for row in self._rows]
        self._functions = tuple(self._list_functions(self._top, 0))

    def find(self, address: int) -> tuple[SourceLine, ...]:
        index = bisect_right(self._starts, address) - 1
        if index < 0 or not self._rows[index][1]:
            return ()
        _, _, file, line = self._rows[index]
        around = sorted((f for f in self._functions if f.has(address)), key=lambda f: -f.depth)
        found = []
        for function in around:
            found.append(SourceLine(self._name_file(file), line, function.name))
            file, line = function.call_file, function.call_line
        return tuple(found) or (SourceLine(self._name_file(file), line),)

    def _list_functions(self, entry: Any, depth: int) -> Iterator[_Function]:
        pending = [(entry, depth)]
        while pending:
            entry, depth = pending.pop()
            if entry.tag in _FUNCTIONS:
                ranges = tuple(list_ranges(self._dwarf, self._unit, entry))
                if not ranges and entry.tag == "DW_TAG_subprogram":
                    continue  # a declaration, or the pattern of inlined ones
                attributes = entry.attributes
                yield _Function(
                    ranges,
                    depth,
                    _find_name(entry),
                    _number(attributes.get("DW_AT_call_file")),
                    _number(attributes.get("DW_AT_call_line")),
                )
            pending += [(child, depth + 1) for child in entry.iter_children()]

    def _name_file(self, number: int) -> str:
        files = self._header.get("file_entry", [])
        folders = self._header.get("include_directory", [])
        is_new = self._header.get("version", 0) >= 5
        index = number if is_new else number - 1
        if not 0 <= index < len(files):
            return "?"
        file = files[index]
        at = file.dir_index if is_new else file.dir_index - 1
        folder = folders[at] if 0 <= at < len(folders) else b""
        built_in = self._top.attributes.get("DW_AT_comp_dir")
        parts = (built_in.value if built_in is not None else b"", folder, file.name)
        return posixpath.normpath(posixpath.join(*(_text(part) for part in parts)))


class ElftoolsLines:
    """One file."""

    def __init__(self, path: Path) -> None:
        """Raises ImportError, OSError."""
        from elftools.elf.elffile import ELFFile

        self._units: dict[int, _Unit] = {}
        self._index: list[tuple[int, int, int]] = []
        self._dwarf: Any = None
        with open(path, "rb") as file:
            try:
                self._dwarf = ELFFile(file).get_dwarf_info(follow_links=False)
                self._index = sorted(self._list_units())
            except Exception:  # noqa: BLE001 - errors of a damaged file, of a dozen kinds
                self._dwarf = None
        self._starts = [start for start, _, _ in self._index]

    def find(self, address: int) -> tuple[SourceLine, ...]:
        index = bisect_right(self._starts, address) - 1
        if self._dwarf is None or index < 0 or address >= self._index[index][1]:
            return ()
        offset = self._index[index][2]
        try:
            unit = self._units.get(offset)
            if unit is None:
                unit = self._units[offset] = _Unit(self._dwarf, self._dwarf.get_CU_at(offset))
            return unit.find(address)
        except Exception:  # noqa: BLE001 - likewise, in the part that is read now
            return ()

    def _list_units(self) -> Iterator[tuple[int, int, int]]:
        """(start, end, offset of its unit) of each piece of code."""
        listed = self._dwarf.get_aranges()
        known = set()
        for entry in listed.entries if listed is not None else ():
            known.add(entry.info_offset)
            yield entry.begin_addr, entry.begin_addr + entry.length, entry.info_offset
        for unit in self._dwarf.iter_CUs():  # clang writes no table of them
            if unit.cu_offset not in known:
                for start, end in list_ranges(self._dwarf, unit, unit.get_top_DIE()):
                    yield start, end, unit.cu_offset


def list_ranges(dwarf: Any, unit: Any, entry: Any) -> Iterator[tuple[int, int]]:
    """(start, end) of each piece of the code of an entry."""
    attributes = entry.attributes
    low, high = attributes.get("DW_AT_low_pc"), attributes.get("DW_AT_high_pc")
    if low is not None and high is not None:
        is_address = high.form.startswith("DW_FORM_addr")
        yield low.value, high.value if is_address else low.value + high.value
        return
    listed = attributes.get("DW_AT_ranges")
    if listed is None:
        return
    top = unit.get_top_DIE().attributes.get("DW_AT_low_pc")
    base = top.value if top is not None else 0
    for item in dwarf.range_lists().get_range_list_at_offset(listed.value, unit):
        if hasattr(item, "base_address"):
            base = item.base_address
        elif item.is_absolute:
            yield item.begin_offset, item.end_offset
        else:
            yield base + item.begin_offset, base + item.end_offset


def _find_name(entry: Any) -> str | None:
    for _ in range(_HOPS_MAX):
        for name in _NAMES:
            if name in entry.attributes:
                return _text(entry.attributes[name].value)
        origin = next(
            (n for n in ("DW_AT_abstract_origin", "DW_AT_specification") if n in entry.attributes),
            None,
        )
        if origin is None:
            return None
        entry = entry.get_DIE_from_attribute(origin)
    return None


def _number(attribute: Any) -> int:
    return int(attribute.value) if attribute is not None else 0


def _text(value: bytes | str) -> str:
    return value.decode("utf-8", "backslashreplace") if isinstance(value, bytes) else value
