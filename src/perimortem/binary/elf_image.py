"""An ELF image, read piece by piece: by address, by section. Pure: a ``read`` goes in.

Source: elf(5); compressed sections: Elf64_Chdr, and ".zdebug_*" of older linkers.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any, TypeVar

from perimortem.binary.elf import (
    EM_ARM,
    PF_W,
    PT_LOAD,
    ElfFile,
    Read,
    SectionHeader,
    read_build_id,
    read_elf,
)
from perimortem.binary.elf32 import (
    SECTION_HEADER_BYTES,
    Symbol,
    list_section_headers,
    list_symbols,
    read_elf32,
)
from perimortem.errors import MalformedInput

PT_GNU_EH_FRAME = 0x6474E550
SHT_NOBITS = 8
_SHF_EXECINSTR = 4
_SHF_COMPRESSED = 0x800
_T = TypeVar("_T")
_ZLIB = 1
_COMPRESSION_HEADERS = {8: struct.Struct("<I4xQ8x"), 4: struct.Struct("<II4x")}
"""Elf64_Chdr and Elf32_Chdr: the method, and the size when unpacked."""
_SYMBOL = struct.Struct("<IBBHQQ")
"""Elf64_Sym."""
_STT_FUNC = 2
_SECTIONS_MAX = 65536
_NAMES_MAX = 1 << 20
_BYTES_MAX = 512 << 20
"""Of one section, compressed or not."""


@dataclass(frozen=True)
class Section:
    """Elf64_Shdr, with its name."""

    name: str
    type: int
    flags: int
    address: int
    offset: int
    size: int
    link: int
    entry_size: int


class ElfImage:
    """A file, or the same as it lies in memory (then without sections, as a rule)."""

    def __init__(self, read: Read, *, in_memory: bool = False) -> None:
        """``read(offset, size)``; ``in_memory``: offsets count from the load base.

        Raises MalformedInput when it is no little-endian ELF image.
        """
        elf = read_elf(read) or read_elf32(read)
        if elf is None:
            raise MalformedInput("not an ELF image that can be read")
        self.elf: ElfFile = elf
        self.read = read
        self.is_in_memory = in_memory
        self._derived: dict[object, Any] = {}

    def derive(self, make: Callable[[ElfImage], _T]) -> _T:
        """The result of ``make``, computed once: an image is queried again for each of its processes."""
        if make not in self._derived:
            self._derived[make] = make(self)
        made: _T = self._derived[make]
        return made

    @property
    def machine(self) -> int:
        return self.elf.header.machine

    @property
    def word_bytes(self) -> int:
        """Of an address: 8, or 4 in an image of 32 bits."""
        return self.elf.word_bytes

    @cached_property
    def build_id(self) -> bytes | None:
        return read_build_id(self.elf, self.read, in_memory=self.is_in_memory)

    @cached_property
    def preferred_base(self) -> int:
        """The address of offset 0 if it is loaded where it asks to be."""
        first = next(iter(self.elf.segments(PT_LOAD)), None)
        return first.address - first.offset if first is not None else 0

    @property
    def eh_frame_header(self) -> tuple[int, bytes] | None:
        """(address, contents) of .eh_frame_hdr."""
        for header in self.elf.segments(PT_GNU_EH_FRAME):
            return header.address, self.read_address(header.address, header.memory_size)
        return None

    def read_address(self, address: int, size: int | None = None) -> bytes:
        """What is at an address of the image, up to the end of its segment in the file."""
        for header in self.elf.segments(PT_LOAD):
            inside = address - header.address
            if 0 <= inside < header.file_size:
                rest = header.file_size - inside
                wanted = min(rest if size is None else size, rest, _BYTES_MAX)
                if self.is_in_memory:
                    return self.read(address - self.preferred_base, wanted)
                return self.read(header.offset + inside, wanted)
        return b""

    def read_constant(self, address: int, size: int) -> bytes:
        """The same, for what the process cannot have changed: code and constants."""
        for header in self.elf.segments(PT_LOAD):
            if header.address <= address < header.address + header.file_size:
                return b"" if header.flags & PF_W else self.read_address(address, size)
        return b""

    @cached_property
    def sections(self) -> tuple[Section, ...]:
        """Empty when there are none, or they make no sense."""
        header = self.elf.header
        is_small = self.word_bytes == 4
        row_bytes = SECTION_HEADER_BYTES if is_small else SectionHeader.size()
        if (
            self.is_in_memory
            or header.section_header_size != row_bytes
            or not header.section_headers_offset
            or header.section_header_count > _SECTIONS_MAX
        ):
            return ()
        table = self.read(header.section_headers_offset, header.section_header_count * row_bytes)
        raw = list(list_section_headers(table) if is_small else SectionHeader.read_each(table))
        if header.section_names_index >= len(raw):
            return ()
        names_in = raw[header.section_names_index]
        names = self.read(names_in.offset, min(names_in.section_size, _NAMES_MAX))
        return tuple(
            Section(
                _name_at(names, section.name), section.type, section.flags, section.address,
                section.offset, section.section_size, section.link, section.entry_size,
            )
            for section in raw
        )  # fmt: skip

    @property
    def has_code(self) -> bool:
        """False for separate debug information: it has the sections of code, but not their contents."""
        code = [section for section in self.sections if section.flags & _SHF_EXECINSTR]
        return not code or any(section.type != SHT_NOBITS for section in code)

    def find_section(self, name: str) -> Section | None:
        """By name; of .debug_* also in its old compressed form."""
        found = next((section for section in self.sections if section.name == name), None)
        if found is None and name.startswith(".debug_"):
            return self.find_section(".z" + name[1:])
        return found

    def read_section(self, name: str) -> bytes:
        """Its contents, unpacked; b"" when it is not there or cannot be unpacked."""
        section = self.find_section(name)
        return b"" if section is None else self._unpack_section(section)

    def read_section_at(self, index: int) -> bytes:
        """The same by number."""
        return self._unpack_section(self.sections[index])

    def list_symbols(self, table: bytes) -> Iterator[Symbol]:
        """Of a symbol table; the functions of 32-bit ARM without the bit that says Thumb."""
        if self.word_bytes == 8:
            yield from _SYMBOL.iter_unpack(table[: len(table) // _SYMBOL.size * _SYMBOL.size])
        elif self.machine != EM_ARM:
            yield from list_symbols(table)
        else:
            for name, info, other, index, value, size in list_symbols(table):
                is_thumb = info & 0xF == _STT_FUNC
                yield name, info, other, index, value & ~1 if is_thumb else value, size

    def _unpack_section(self, section: Section) -> bytes:
        if section.type == SHT_NOBITS or section.size > _BYTES_MAX:
            return b""
        data = self.read(section.offset, section.size)
        head = _COMPRESSION_HEADERS[self.word_bytes]
        if section.flags & _SHF_COMPRESSED and len(data) >= head.size:
            kind, size = head.unpack_from(data)
            return _unpack(data[head.size :], size) if kind == _ZLIB else b""
        if section.name.startswith(".zdebug_") and data[:4] == b"ZLIB":
            return _unpack(data[12:], int.from_bytes(data[4:12], "big"))
        return data


def _unpack(data: bytes, size: int) -> bytes:
    if size > _BYTES_MAX:
        return b""
    try:
        return zlib.decompressobj().decompress(data, size)
    except zlib.error:
        return b""


def _name_at(names: bytes, at: int) -> str:
    end = names.find(b"\0", at)
    return names[at : end if end >= 0 else len(names)].decode("utf-8", "backslashreplace")
