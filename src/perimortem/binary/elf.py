"""The parts of an ELF file that identify it: class, machine, interpreter, needed, build-id.

Works on an image in memory (offsets are addresses) as well as on a file. Pure: a ``read`` goes in.
Source: elf(5).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

Read = Callable[[int, int], bytes]

PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
PT_PHDR = 6
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_DEBUG, DT_FLAGS_1 = 0, 1, 5, 10, 21, 0x6FFFFFFB
NT_GNU_BUILD_ID = 3
NT_GO_BUILD_ID = 4
EM_X86_64, EM_AARCH64 = 62, 183

_PROGRAM_HEADERS_MAX = 512
_DYNAMIC_MAX = 65536


@dataclass(frozen=True)
class ProgramHeader:
    """One segment (Elf64_Phdr)."""

    type: int
    flags: int
    offset: int
    address: int
    file_size: int
    memory_size: int


@dataclass(frozen=True)
class ElfFile:
    """The head of a 64-bit little-endian ELF image."""

    machine: int
    type: int
    program_headers: tuple[ProgramHeader, ...]

    def segments(self, kind: int) -> Iterator[ProgramHeader]:
        return (header for header in self.program_headers if header.type == kind)


def read_elf_class(head: bytes) -> int | None:
    """1 for 32-bit, 2 for 64-bit, None when it is no ELF file."""
    return head[4] if len(head) >= 5 and head[:4] == b"\x7fELF" else None


def read_elf(read: Read) -> ElfFile | None:
    """The head of a 64-bit little-endian ELF image at offset 0 of ``read``, or None."""
    head = read(0, 64)
    if len(head) < 64 or head[:4] != b"\x7fELF" or head[4] != 2 or head[5] != 1:
        return None
    kind, machine = struct.unpack_from("<HH", head, 16)
    (offset,) = struct.unpack_from("<Q", head, 32)
    entry_size, count = struct.unpack_from("<HH", head, 54)
    if entry_size != 56 or count > _PROGRAM_HEADERS_MAX:
        return None
    table = read(offset, entry_size * count)
    return ElfFile(machine, kind, tuple(parse_program_headers(table)))


def parse_program_headers(table: bytes) -> Iterator[ProgramHeader]:
    """Every whole Elf64_Phdr in ``table``."""
    for at in range(0, len(table) - 55, 56):
        kind, flags, offset, address, _, file_size, memory_size, _ = struct.unpack_from(
            "<IIQQQQQQ", table, at
        )
        yield ProgramHeader(kind, flags, offset, address, file_size, memory_size)


def read_build_id(elf: ElfFile, read: Read, *, in_memory: bool) -> bytes | None:
    """The GNU build-id. ``in_memory``: ``read`` takes addresses relative to the load base."""
    base = next((h.address - h.offset for h in elf.segments(PT_LOAD) if h.offset == 0), 0)
    for header in elf.segments(PT_NOTE):
        start = header.address - base if in_memory else header.offset
        notes = read(start, min(header.file_size, 4096))
        build_id = _find_note(notes, b"GNU\0", NT_GNU_BUILD_ID)
        if build_id:
            return build_id
    return None


def is_go_program(elf: ElfFile, read: Read) -> bool:
    """Go's linker leaves its own note; such a program exits by a direct system call."""
    return any(
        _find_note(read(header.offset, min(header.file_size, 4096)), b"Go\0\0", NT_GO_BUILD_ID)
        for header in elf.segments(PT_NOTE)
    )


def _find_note(notes: bytes, wanted_name: bytes, wanted_type: int) -> bytes | None:
    at = 0
    while at + 12 <= len(notes):
        name_size, size, kind = struct.unpack_from("<III", notes, at)
        name_at = at + 12
        data_at = name_at + (name_size + 3 & ~3)
        if data_at + size > len(notes):
            return None
        if kind == wanted_type and notes[name_at : name_at + name_size] == wanted_name:
            return notes[data_at : data_at + size]
        at = data_at + (size + 3 & ~3)
    return None


def read_interpreter(elf: ElfFile, read: Read) -> str | None:
    """The dynamic linker that a program asks for; None for a static one."""
    for header in elf.segments(PT_INTERP):
        return (
            read(header.offset, min(header.file_size, 4096))
            .rstrip(b"\0")
            .decode("utf-8", "replace")
        )
    return None


def read_needed(elf: ElfFile, read: Read) -> tuple[str, ...]:
    """The libraries in DT_NEEDED, read from a file."""
    for dynamic in elf.segments(PT_DYNAMIC):
        entries = list(iter_dynamic(read(dynamic.offset, min(dynamic.file_size, _DYNAMIC_MAX))))
        tags = dict(entries)
        strings_at = _file_offset(elf, tags.get(DT_STRTAB, 0))
        if strings_at is None:
            return ()
        strings = read(strings_at, min(tags.get(DT_STRSZ, 0), 1 << 20))
        return tuple(
            strings[value:].split(b"\0", 1)[0].decode("utf-8", "replace")
            for tag, value in entries
            if tag == DT_NEEDED
        )
    return ()


def iter_dynamic(table: bytes) -> Iterator[tuple[int, int]]:
    """(tag, value) of every Elf64_Dyn up to DT_NULL."""
    for at in range(0, len(table) - 15, 16):
        tag, value = struct.unpack_from("<qQ", table, at)
        if tag == DT_NULL:
            return
        yield tag, value


def _file_offset(elf: ElfFile, address: int) -> int | None:
    for header in elf.segments(PT_LOAD):
        if header.address <= address < header.address + header.file_size:
            return address - header.address + header.offset
    return None
