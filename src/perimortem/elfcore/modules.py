"""Modules of a process from its mappings, identified by the build-id in its own memory."""

from __future__ import annotations

import re

from perimortem.binary.elf import PT_LOAD, ElfFile, read_build_id, read_elf
from perimortem.binary.elf32 import read_elf32
from perimortem.elfcore.link_map import AT_PHDR
from perimortem.model.snapshot import Module, ReadMemory, Region

_DELETED = " (deleted)"
_LIBRARY = re.compile(r"\.so(?:\.[^/]*)?$")
_PAGE = 4096
_VERSION = re.compile(r"\.so((?:\.\d{1,4}){1,4})$")


def derive_modules(
    regions: tuple[Region, ...], read: ReadMemory, executable: str | None
) -> tuple[Module, ...]:
    """One module for each ELF file that is mapped executable; the program itself first.

    The mappings of one file are merged; the base is its offset-0 mapping.
    """
    groups: list[list[Region]] = []
    for region in regions:
        is_file = region.path.startswith("/") or region.path == "[vdso]"
        if not is_file:
            continue
        # A second offset-0 mapping begins a second load of the same file (dlmopen).
        if groups and groups[-1][0].path == region.path and region.file_offset != 0:
            groups[-1].append(region)
        elif region.file_offset == 0:
            groups.append([region])
    modules = []
    for group in groups:
        if any(region.executable for region in group):
            module = _read_module(group, read, executable)
            if module is not None:
                modules.append(module)
    modules.sort(key=lambda module: module.path != executable)
    return tuple(modules)


def guess_program(
    command_line: bytes, auxv: dict[int, int], regions: tuple[Region, ...]
) -> tuple[Module, ...]:
    """For cores without NT_FILE (qemu's): the program itself is where its headers are."""
    headers_at = auxv.get(AT_PHDR, 0)
    path = command_line.split(b" ", 1)[0].decode("utf-8", "backslashreplace")
    start = end = headers_at & -_PAGE
    for region in regions:
        if region.start <= end < region.end:
            end = region.end
    return (Module(start, end - start, path, None),) if path and end > start else ()


def _read_module(group: list[Region], read: ReadMemory, executable: str | None) -> Module | None:
    base = group[0].start

    def read_image(offset: int, size: int) -> bytes:
        return read(base + offset, size)

    elf = read_elf(read_image) or read_elf32(read_image)
    path = group[0].path.removesuffix(_DELETED)
    if elf is None:
        # A core without the headers of files (coredump_filter): then their names say what they are.
        is_named = group[0].path == executable or _LIBRARY.search(path)
        head = read_image(0, 4)
        is_other = head == b"\x7fELF"  # of a byte order that is not read here
        if not is_other and (head or not is_named):
            return None
        return Module(base, group[-1].end - base, path, None, version=_version_of(path))
    # A program may map its own file once more, to read it: that is not part of the module.
    end = max(region.end for region in group if region.start < base + _span(elf))
    return Module(
        base=base,
        size=end - base,
        path="linux-gate.so" if path == "[vdso]" else path,
        build_id=read_build_id(elf, read_image, in_memory=True),
        version=_version_of(path),
    )


def _span(elf: ElfFile) -> int:
    """From the first to the last byte that is loaded of it."""
    loads = list(elf.segments(PT_LOAD))
    if not loads:
        return 1
    return max(h.address + h.memory_size for h in loads) - min(h.address - h.offset for h in loads)


def _version_of(path: str) -> tuple[int, int, int, int]:
    """libfoo.so.1.2.3 is version 1.2.3.0."""
    match = _VERSION.search(path)
    numbers = [int(part) for part in match[1].split(".")[1:]] if match else []
    padded = (*numbers, 0, 0, 0, 0)
    return padded[0], padded[1], padded[2], padded[3]
