"""32-bit little-endian ELF files: their records, read as the 64-bit ones. Pure. Source: elf(5)."""

from __future__ import annotations

import struct
from collections.abc import Iterator

from perimortem.binary.elf import (
    PROGRAM_HEADERS_MAX,
    ElfFile,
    ElfHeader,
    ProgramHeader,
    Read,
    SectionHeader,
)

_KIND = b"\x7fELF\x01\x01"
_HEADER = struct.Struct("<16sHHIIIIIHHHHHH")
_PROGRAM_HEADER = struct.Struct("<8I")
_SECTION_HEADER = struct.Struct("<10I")
_SYMBOL = struct.Struct("<IIIBBH")
SECTION_HEADER_BYTES = _SECTION_HEADER.size

Symbol = tuple[int, int, int, int, int, int]
"""st_name, st_info, st_other, st_shndx, st_value, st_size: the order of Elf64_Sym."""


def read_elf32(read: Read) -> ElfFile | None:
    """The head of the image at offset 0 of ``read``; None if it is another kind of file."""
    head = read(0, _HEADER.size)
    if len(head) < _HEADER.size or head[:6] != _KIND:
        return None
    header = ElfHeader(*_HEADER.unpack(head))
    count = header.program_header_count
    if count > PROGRAM_HEADERS_MAX or header.program_header_size != _PROGRAM_HEADER.size:
        return None
    table = read(header.program_headers_offset, count * _PROGRAM_HEADER.size)
    return ElfFile(header, tuple(_list_program_headers(table)), word_bytes=4)


def _list_program_headers(table: bytes) -> Iterator[ProgramHeader]:
    size = _PROGRAM_HEADER.size
    for row in _PROGRAM_HEADER.iter_unpack(table[: len(table) // size * size]):
        kind, offset, address, physical, file_size, memory_size, flags, align = row
        yield ProgramHeader(kind, flags, offset, address, physical, file_size, memory_size, align)


def list_section_headers(table: bytes) -> Iterator[SectionHeader]:
    """Every whole one; Elf32_Shdr has the order of Elf64_Shdr."""
    size = _SECTION_HEADER.size
    for row in _SECTION_HEADER.iter_unpack(table[: len(table) // size * size]):
        yield SectionHeader(*row)


def list_symbols(table: bytes) -> Iterator[Symbol]:
    """Every whole Elf32_Sym."""
    size = _SYMBOL.size
    for name, value, length, info, other, index in _SYMBOL.iter_unpack(
        table[: len(table) // size * size]
    ):
        yield name, info, other, index, value, length
