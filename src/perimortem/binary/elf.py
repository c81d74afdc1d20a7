"""ELF: header, segments, notes, and what identifies an image: machine, interpreter, needed, build-id.

Images in memory (offsets are addresses), files and cores are all read here. Every count is checked; a
short read gives less, never an error. Pure: a ``read`` goes in. Source: elf(5).
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perimortem.binary.record import U16, U32, U64, Bytes16, Record

Read = Callable[[int, int], bytes]

IDENTITY = b"\x7fELF\x02\x01\x01".ljust(16, b"\0")
"""64-bit, little-endian, version 1."""
ELFCLASS32 = 1
ET_CORE = 4
PN_XNUM = 0xFFFF
"""From this many program headers on, the count is in sh_info of section 0."""
PT_LOAD, PT_DYNAMIC, PT_INTERP, PT_NOTE = 1, 2, 3, 4
PT_PHDR = 6
PF_X, PF_W, PF_R = 1, 2, 4
DT_NULL, DT_NEEDED, DT_STRTAB, DT_STRSZ, DT_DEBUG, DT_FLAGS_1 = 0, 1, 5, 10, 21, 0x6FFFFFFB
NT_GNU_BUILD_ID = 3
NT_GO_BUILD_ID = 4
EM_386, EM_ARM, EM_X86_64, EM_AARCH64 = 3, 40, 62, 183

PROGRAM_HEADERS_MAX = 512
"""Of an image; a core has one for each mapping."""
_MAGIC = IDENTITY[:4]
_KIND = IDENTITY[:6]
_NOTES_MAX = 4096
_DYNAMIC_MAX = 65536


class ElfHeader(Record):
    """Elf64_Ehdr."""

    identity: Bytes16
    type: U16
    machine: U16
    version: U32
    entry: U64
    program_headers_offset: U64
    section_headers_offset: U64
    flags: U32
    header_size: U16
    program_header_size: U16
    program_header_count: U16
    section_header_size: U16
    section_header_count: U16
    section_names_index: U16


class ProgramHeader(Record):
    """Elf64_Phdr: one segment."""

    type: U32
    flags: U32
    offset: U64
    address: U64
    physical_address: U64
    file_size: U64
    memory_size: U64
    align: U64


class SectionHeader(Record):
    """Elf64_Shdr."""

    name: U32
    type: U32
    flags: U64
    address: U64
    offset: U64
    section_size: U64
    link: U32
    info: U32
    align: U64
    entry_size: U64


@dataclass(frozen=True)
class ElfFile:
    """The head of a little-endian ELF image."""

    header: ElfHeader
    program_headers: tuple[ProgramHeader, ...]
    word_bytes: int = 8
    """Of an address: 4 in an image of 32 bits."""

    def segments(self, kind: int) -> Iterator[ProgramHeader]:
        return (header for header in self.program_headers if header.type == kind)


def read_elf_class(head: bytes) -> int | None:
    """ELFCLASS32, 2 for 64-bit, None when it is no ELF file. ``head``: its first five bytes."""
    return head[4] if len(head) >= 5 and head[:4] == _MAGIC else None


def read_header(read: Read) -> ElfHeader | None:
    """None unless it is 64-bit and little-endian."""
    head = read(0, ElfHeader.size())
    if len(head) < ElfHeader.size() or head[:6] != _KIND:
        return None
    return ElfHeader.read(head)


def read_elf(read: Read) -> ElfFile | None:
    """The head of a 64-bit little-endian ELF image at offset 0 of ``read``, or None."""
    header = read_header(read)
    if header is None or header.program_header_count > PROGRAM_HEADERS_MAX:
        return None
    if header.program_header_size != ProgramHeader.size():
        return None
    table = read(header.program_headers_offset, header.program_header_count * ProgramHeader.size())
    return ElfFile(header, tuple(ProgramHeader.read_each(table)))


def read_build_id(elf: ElfFile, read: Read, *, in_memory: bool) -> bytes | None:
    """The GNU build-id. ``in_memory``: ``read`` takes addresses relative to the load base."""
    base = next((h.address - h.offset for h in elf.segments(PT_LOAD) if h.offset == 0), 0)
    for header in elf.segments(PT_NOTE):
        start = header.address - base if in_memory else header.offset
        notes = read(start, min(header.file_size, _NOTES_MAX))
        build_id = _find_note(notes, b"GNU\0", NT_GNU_BUILD_ID)
        if build_id:
            return build_id
    return None


def is_go_program(elf: ElfFile, read: Read) -> bool:
    """Go's linker leaves its own note; such a program exits by a direct system call."""
    return any(
        _find_note(
            read(header.offset, min(header.file_size, _NOTES_MAX)), b"Go\0\0", NT_GO_BUILD_ID
        )
        for header in elf.segments(PT_NOTE)
    )


def _find_note(notes: bytes, wanted_owner: bytes, wanted_type: int) -> bytes | None:
    return next(
        (
            content
            for owner, kind, content in iterate_notes(notes)
            if (owner, kind) == (wanted_owner, wanted_type)
        ),
        None,
    )


def iterate_notes(data: bytes) -> Iterator[tuple[bytes, int, bytes]]:
    """(owner, type, content) of each, up to an incomplete one."""
    at = 0
    while at + 12 <= len(data):
        name_size, size, kind = struct.unpack_from("<III", data, at)
        start = at + 12 + (name_size + 3 & ~3)
        if start + size > len(data):
            return
        yield data[at + 12 : at + 12 + name_size], kind, data[start : start + size]
        at = start + (size + 3 & ~3)


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
