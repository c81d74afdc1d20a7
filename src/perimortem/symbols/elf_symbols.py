"""The functions in the symbol tables of an ELF file: .symtab, .dynsym (elf(5)). Pure."""

from __future__ import annotations

import re

from perimortem.binary.elf_image import ElfImage
from perimortem.symbols.table import SymbolTable, make_table

_OBJECT, _FUNCTION, _INDIRECT_FUNCTION, _NO_TYPE = 1, 2, 10, 0
FUNCTIONS = frozenset({_FUNCTION, _INDIRECT_FUNCTION})
DATA = frozenset({_OBJECT})
_BINDING_ORDER = {1: 0, 2: 1, 0: 2}
"""Preference if several names have one address: global, weak, local."""
_EXECUTABLE = 0x4
_NAME_MAX = 64 << 10
_SHARED_MAX = 8


def read_elf_symbols(
    image: ElfImage, name: str = ".symtab", kinds: frozenset[int] = FUNCTIONS
) -> SymbolTable:
    """Every function (or variable) in ``name`` (.symtab or .dynsym); an empty table if there is none.

    Symbols without a type count if they are in code: assembler routines have none.
    """
    section = image.find_section(name)
    data = image.read_section(name)
    if section is None or not data or not 0 <= section.link < len(image.sections):
        return make_table(())
    strings = image.read_section_at(section.link)
    code = {index for index, other in enumerate(image.sections) if other.flags & _EXECUTABLE}
    names = _Names(strings)
    best: dict[int, tuple[tuple[int, int, int, int], int, bytes]] = {}
    for name_at, info, _, index, value, size in image.list_symbols(data):
        kind = info & 0xF
        if kind not in kinds and (kind != _NO_TYPE or index not in code or kinds is DATA):
            continue
        if not index or not value:
            continue
        if not size and index < len(image.sections):
            # It extends to the next one, but never beyond its section.
            home = image.sections[index]
            size = max(0, home.address + home.size - value)  # noqa: PLW2901
        text = names.find(name_at)
        if not text or (kind == _NO_TYPE and text[:1] == b"$"):  # mapping symbols of ARM
            continue
        rank = (
            kind == _NO_TYPE,
            _BINDING_ORDER.get(info >> 4, 3),
            len(text) - len(text.lstrip(b"_")),
            len(text),
        )
        known = best.get(value)
        if known is None or rank < known[0]:
            best[value] = (rank, size, text)
    return make_table((value, best[value][1], best[value][2]) for value in sorted(best))


class _Names:
    """The names in a string section, without versions (@GLIBC_2.34).

    Symbols may share a name, or the end of one. If they share so much that the names are many times
    longer than the section, it was made to exhaust our memory: further names are left out."""

    def __init__(self, strings: bytes) -> None:
        self._strings = strings
        self._bytes_left = _SHARED_MAX * len(strings) + _NAME_MAX

    def find(self, at: int) -> bytes:
        """Empty if there is none; one that is longer than 64 KiB is cut."""
        end = self._strings.find(b"\0", at, at + _NAME_MAX)
        name = self._strings[at : end if end >= 0 else at + _NAME_MAX].split(b"@", 1)[0]
        self._bytes_left -= len(name)
        return name if self._bytes_left >= 0 else b""


def read_elf_exports(image: ElfImage) -> SymbolTable:
    """Functions that other modules may call."""
    return read_elf_symbols(image, ".dynsym")


def read_elf_variables(image: ElfImage) -> SymbolTable:
    """Variables; in a stripped image only the exported ones."""
    return read_elf_symbols(image, ".symtab", DATA) or read_elf_symbols(image, ".dynsym", DATA)


def find_elf_symbol(image: ElfImage, section_name: str, name: str) -> int | None:
    """The address of one symbol, of any type, by name."""
    found = find_elf_object(image, section_name, name)
    return found[0] if found is not None else None


def find_elf_object(image: ElfImage, section_name: str, name: str) -> tuple[int, int] | None:
    """The same with its size in bytes."""
    section = image.find_section(section_name)
    data = image.read_section(section_name)
    if section is None or not data or not 0 <= section.link < len(image.sections):
        return None
    strings = image.read_section_at(section.link)
    wanted = name.encode()
    for name_at, _, _, index, value, size in image.list_symbols(data):
        if index and value and strings.startswith(wanted, name_at):
            end = name_at + len(wanted)
            if strings[end : end + 1] in (b"\0", b"@"):
                return int(value), int(size)
    return None


def find_elf_functions(image: ElfImage, pattern: re.Pattern[bytes]) -> list[tuple[int, int, bytes]]:
    """(address, size, name) of the functions in whose names ``pattern`` is found: much faster than the
    whole table."""
    section = image.find_section(".symtab")
    data = image.read_section(".symtab")
    if section is None or not data or not 0 <= section.link < len(image.sections):
        return []
    strings = image.read_section_at(section.link)
    names = {}
    for match in pattern.finditer(strings):
        start, end = strings.rfind(b"\0", 0, match.start()) + 1, strings.find(b"\0", match.end())
        if 0 <= end - start <= _NAME_MAX:
            names[start] = strings[start:end]
    if not names:
        return []
    return [
        (value, size, names[name_at])
        for name_at, info, _, _, value, size in image.list_symbols(data)
        if name_at in names and info & 0xF in FUNCTIONS
    ]
