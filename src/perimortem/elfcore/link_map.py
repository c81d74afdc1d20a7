"""The dynamic linker's own list of libraries (struct r_debug and link_map in link.h)."""

from __future__ import annotations

import struct

from perimortem.binary.elf import (
    DT_DEBUG,
    PROGRAM_HEADERS_MAX,
    PT_DYNAMIC,
    PT_PHDR,
    ProgramHeader,
    iter_dynamic,
)
from perimortem.model.snapshot import DsoDebug, LinkMapEntry, MemoryRange, ReadMemory

AT_PHDR, AT_PHENT, AT_PHNUM, AT_BASE, AT_ENTRY = 3, 4, 5, 7, 9
AT_SYSINFO_EHDR = 33
_OBJECTS_MAX = 4096


def parse_auxv(raw: bytes, pair: str = "<QQ") -> dict[int, int]:
    """/proc/PID/auxv as {AT_*: value}. ``pair``: two words, as struct has them."""
    size = struct.calcsize(pair)
    rows = struct.iter_unpack(pair, raw[: len(raw) // size * size])
    return {key: value for key, value in rows if key}


def read_dso_debug(
    auxv: dict[int, int], read: ReadMemory
) -> tuple[DsoDebug, list[MemoryRange]] | None:
    """The list and the memory it lies in; None for a static program or before the linker ran."""
    headers_at, count = auxv.get(AT_PHDR, 0), auxv.get(AT_PHNUM, 0)
    size = count * ProgramHeader.size()
    if not headers_at or auxv.get(AT_PHENT) != ProgramHeader.size() or count > PROGRAM_HEADERS_MAX:
        return None
    headers = list(ProgramHeader.read_each(read(headers_at, size)))
    bias = next((headers_at - h.address for h in headers if h.type == PT_PHDR), 0)
    dynamic = next((h for h in headers if h.type == PT_DYNAMIC), None)
    if dynamic is None:
        return None
    dynamic_at = bias + dynamic.address
    dynamic_bytes = read(dynamic_at, min(dynamic.memory_size, 8192))
    debug_at = dict(iter_dynamic(dynamic_bytes)).get(DT_DEBUG, 0)
    head = read(debug_at, 40) if debug_at else b""
    if len(head) < 40:
        return None
    version, map_at, _, _, loader_base = struct.unpack("<QQQQQ", head)
    memory = [
        MemoryRange(headers_at, size),
        MemoryRange(dynamic_at, len(dynamic_bytes)),
        MemoryRange(debug_at, 40),
    ]
    objects: list[LinkMapEntry] = []
    seen: set[int] = set()
    while map_at and map_at not in seen and len(objects) < _OBJECTS_MAX:
        seen.add(map_at)
        node = read(map_at, 40)
        if len(node) < 40:
            break
        base, name_at, dynamic_of, following, _ = struct.unpack("<QQQQQ", node)
        name = read(name_at, 256).split(b"\0", 1)[0] if name_at else b""
        memory += [MemoryRange(map_at, 40), MemoryRange(name_at, len(name) + 1)]
        objects.append(LinkMapEntry(base, name.decode("utf-8", "backslashreplace"), dynamic_of))
        map_at = following
    return (
        DsoDebug(version & 0xFFFFFFFF, loader_base, dynamic_at, dynamic_bytes, tuple(objects)),
        memory,
    )
