"""A PE image (.exe, .dll), read piece by piece: headers, exports, COFF symbols. Pure.

Source: "PE Format" (Microsoft). Addresses are relative to the image's base (RVA), so
``preferred_base`` is 0: what is added to them is where the module lies.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

from perimortem.errors import MalformedInput

MACHINE_AMD64, MACHINE_ARM64, MACHINE_I386 = 0x8664, 0xAA64, 0x14C
EXPORT, EXCEPTION = 0, 3
"""Directories."""
_PE32, _PE32_PLUS = 0x10B, 0x20B
_WRITABLE = 0x80000000
"""IMAGE_SCN_MEM_WRITE."""
_DIRECTORIES_MAX, _SECTIONS_MAX, _EXPORTS_MAX = 16, 96, 1 << 17
_DIRECTORY_BYTES_MAX = 64 << 20
_SYMBOL = struct.Struct("<8sIhHBB")
_SYMBOLS_MAX = 1 << 20
_FUNCTION_TYPE, _EXTERNAL, _STATIC = 0x20, 2, 3

Read = Callable[[int, int], bytes]


@dataclass(frozen=True)
class PeSection:
    """IMAGE_SECTION_HEADER."""

    name: str
    address: int
    size: int
    offset: int
    file_size: int
    is_writable: bool


class PeImage:
    """A file as the linker wrote it."""

    preferred_base = 0

    def __init__(self, read: Read) -> None:
        """Raises MalformedInput when it is no PE image."""
        self.read = read
        head = read(0, 64)
        if len(head) < 64 or head[:2] != b"MZ":
            raise MalformedInput("not a PE image")
        (at,) = struct.unpack_from("<I", head, 60)
        head = read(at, 24 + 112 + 8 * _DIRECTORIES_MAX)
        if len(head) < 24 + 112 or head[:4] != b"PE\0\0":
            raise MalformedInput("not a PE image")
        self.machine, count, self.timestamp = struct.unpack_from("<HHI", head, 4)
        self._symbols_at, self._symbol_count = struct.unpack_from("<II", head, 12)
        (optional_size,) = struct.unpack_from("<H", head, 20)
        (magic,) = struct.unpack_from("<H", head, 24)
        if magic not in (_PE32, _PE32_PLUS) or count > _SECTIONS_MAX:
            raise MalformedInput("not a PE image")
        listed_at = 24 + (112 if magic == _PE32_PLUS else 96)
        (self.image_size,) = struct.unpack_from("<I", head, 24 + 56)
        (directories,) = struct.unpack_from("<I", head, listed_at - 4)
        self._directories = [
            struct.unpack_from("<II", head, listed_at + 8 * index)
            for index in range(min(directories, _DIRECTORIES_MAX))
            if listed_at + 8 * index + 8 <= len(head)
        ]
        table = read(at + 24 + optional_size, 40 * count)
        self.sections = tuple(
            PeSection(
                table[start : start + 8].rstrip(b"\0").decode("latin-1"),
                address,
                max(size, file_size),
                offset,
                file_size,
                bool(flags & _WRITABLE),
            )
            for start in range(0, len(table) - 39, 40)
            for size, address, file_size, offset in (struct.unpack_from("<IIII", table, start + 8),)
            for flags in (int.from_bytes(table[start + 36 : start + 40], "little"),)
        )

    @property
    def has_exception_table(self) -> bool:
        """Its functions are described as x64 Windows does."""
        return bool(self.machine == MACHINE_AMD64)

    def read_address(self, address: int, size: int) -> bytes:
        """``size`` bytes at an RVA; fewer at the end of its section in the file."""
        for section in self.sections:
            inside = address - section.address
            if 0 <= inside < section.file_size:
                return self.read(section.offset + inside, min(size, section.file_size - inside))
        return b""

    def read_constant(self, address: int, size: int) -> bytes:
        """The same, for what the process cannot have changed: code and constants."""
        for section in self.sections:
            if section.address <= address < section.address + section.file_size:
                return b"" if section.is_writable else self.read_address(address, size)
        return b""

    def read_directory(self, index: int) -> tuple[int, bytes]:
        """(RVA, contents); b"" when there is none."""
        if index >= len(self._directories):
            return 0, b""
        address, size = self._directories[index]
        return address, self.read_address(address, min(size, _DIRECTORY_BYTES_MAX))

    @cached_property
    def coff_functions(self) -> list[tuple[int, str]]:
        """(RVA, name) of every function in the COFF symbol table, which mingw writes; in order."""
        count = min(self._symbol_count, _SYMBOLS_MAX)
        if not self._symbols_at or not count:
            return []
        table = self.read(self._symbols_at, count * _SYMBOL.size)
        strings_at = self._symbols_at + self._symbol_count * _SYMBOL.size
        size = int.from_bytes(self.read(strings_at, 4), "little")
        strings = self.read(strings_at, min(size, _DIRECTORY_BYTES_MAX))
        found = []
        index = 0
        while (index + 1) * _SYMBOL.size <= len(table):
            name, value, section, kind, storage, extra = _SYMBOL.unpack_from(
                table, index * _SYMBOL.size
            )
            index += 1 + extra
            is_function = kind == _FUNCTION_TYPE and storage in (_EXTERNAL, _STATIC)
            if not is_function or not 0 < section <= len(self.sections):
                continue
            if name[:4] == b"\0\0\0\0":
                at = int.from_bytes(name[4:], "little")
                name = strings[at : at + 512]
            text = name.split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
            found.append((self.sections[section - 1].address + value, text))
        return sorted(found)

    @cached_property
    def exports(self) -> list[tuple[int, str]]:
        """(RVA, name) of every function that is exported by name, in order; no forwarders."""
        start, data = self.read_directory(EXPORT)
        if len(data) < 40:
            return []
        count, names = struct.unpack_from("<II", data, 20)
        functions_at, names_at, ordinals_at = struct.unpack_from("<III", data, 28)
        count, names = min(count, _EXPORTS_MAX), min(names, _EXPORTS_MAX)
        functions = self.read_address(functions_at, 4 * count)
        pointers = self.read_address(names_at, 4 * names)
        ordinals = self.read_address(ordinals_at, 2 * names)
        found = []
        for index in range(min(len(pointers) // 4, len(ordinals) // 2)):
            (ordinal,) = struct.unpack_from("<H", ordinals, 2 * index)
            (pointer,) = struct.unpack_from("<I", pointers, 4 * index)
            if 4 * ordinal + 4 > len(functions):
                continue
            (address,) = struct.unpack_from("<I", functions, 4 * ordinal)
            if start <= address < start + len(data):
                continue  # forwarded to another module
            name = self.read_address(pointer, 512).split(b"\0", 1)[0]
            found.append((address, name.decode("ascii", "backslashreplace")))
        return sorted(found)
