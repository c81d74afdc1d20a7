"""Where the runtime is: _PyRuntime among the exported symbols of the program or of libpython, in memory.

Source: elf(5); "GNU hash ELF sections" (DT_GNU_HASH).
"""

from __future__ import annotations

import re
import struct

from perimortem.binary.elf import PT_DYNAMIC, PT_LOAD, iter_dynamic, read_elf
from perimortem.cpython.layout import ReadMemory
from perimortem.model.snapshot import Module

_PYTHON = re.compile(r"(?:lib)?python[0-9.dmtu]*(?:\.so[0-9.]*)?")
_STRTAB, _SYMTAB, _GNU_HASH = 5, 6, 0x6FFFFEF5
_DYNAMIC_MAX = 16 << 10
_SYMBOL = struct.Struct("<IBBHQQ")
_CHAIN_MAX = 4096


def find_runtime(modules: tuple[Module, ...], read: ReadMemory) -> tuple[int, int | None] | None:
    """(address of _PyRuntime, address of Py_Version); None: no Python is there."""
    named = [m for m in modules if _PYTHON.fullmatch(m.path.rpartition("/")[2])]
    for module in [*named, *modules[:1]]:
        exported = _Exports(module.base, read)
        runtime = exported.find(b"_PyRuntime")
        if runtime is not None:
            return runtime, exported.find(b"Py_Version")
    return None


class _Exports:
    """The exported symbols of an image in memory."""

    def __init__(self, base: int, read: ReadMemory) -> None:
        self._base, self._read = base, read
        self._tables: dict[int, int] = {}
        elf = read_elf(lambda offset, size: read(base + offset, size))
        if elf is None:
            return
        first = next(iter(elf.segments(PT_LOAD)), None)
        self._bias = base - (first.address - first.offset if first is not None else 0)
        for dynamic in elf.segments(PT_DYNAMIC):
            raw = read(self._bias + dynamic.address, min(dynamic.memory_size, _DYNAMIC_MAX))
            self._tables = dict(iter_dynamic(raw))

    def find(self, name: bytes) -> int | None:
        """The address of a symbol."""
        if not {_STRTAB, _SYMTAB, _GNU_HASH} <= self._tables.keys():
            return None
        names, symbols, table = (self._place(tag) for tag in (_STRTAB, _SYMTAB, _GNU_HASH))
        head = self._read(table, 16)
        if len(head) < 16:
            return None
        count, first, words, _ = struct.unpack("<4I", head)
        if not count:
            return None
        hashed = _hash(name)
        buckets = table + 16 + 8 * words
        index = self._number(buckets + 4 * (hashed % count))
        for number in range(index, index + _CHAIN_MAX) if index >= first else ():
            link = self._number(buckets + 4 * count + 4 * (number - first))
            if link | 1 == hashed | 1 and self._has_name(symbols, names, number, name):
                raw = self._read(symbols + _SYMBOL.size * number, _SYMBOL.size)
                return self._bias + int(_SYMBOL.unpack(raw)[4])
            if link & 1:
                break
        return None

    def _has_name(self, symbols: int, names: int, number: int, name: bytes) -> bool:
        raw = self._read(symbols + _SYMBOL.size * number, _SYMBOL.size)
        if len(raw) < _SYMBOL.size:
            return False
        wanted = name + b"\0"
        return self._read(names + _SYMBOL.unpack(raw)[0], len(wanted)) == wanted

    def _place(self, tag: int) -> int:
        """As the linker has left it: an address in memory, or one of the file."""
        value = self._tables[tag]
        return value if value >= self._base else self._bias + value

    def _number(self, address: int) -> int:
        raw = self._read(address, 4)
        return int.from_bytes(raw, "little") if len(raw) == 4 else 0


def _hash(name: bytes) -> int:
    value = 5381
    for byte in name:
        value = value * 33 + byte & 0xFFFFFFFF
    return value
