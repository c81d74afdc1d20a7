"""The mappings of a process, from the segments of its core and the files that were mapped. Pure.

Source: core(5); the kernel's fill_files_note.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from dataclasses import replace

from perimortem.binary.elf import PF_R, PF_W, PF_X, PT_LOAD, ProgramHeader
from perimortem.model.snapshot import Region

_FILES_MAX = 1 << 20
_ADDRESS = (1 << 64) - 1


def derive_regions(segments: Iterable[ProgramHeader], files: list[Region]) -> list[Region]:
    """In order of address. ``files``: see :func:`parse_files`."""
    return _add_files(list(_join_segments(segments, files)), files)


def parse_files(note: bytes, word: str) -> list[Region]:
    """NT_FILE: where which file is mapped. ``word``: an address, as struct has it."""
    size = struct.calcsize(word)
    row = 3 * size
    if len(note) < 2 * size:
        return []
    count, page = (value for (value,) in struct.iter_unpack(word, note[: 2 * size]))
    if count > _FILES_MAX or 2 * size + row * count > len(note):
        return []
    paths = note[2 * size + row * count :].split(b"\0")
    found = []
    for index, path in zip(range(count), paths, strict=False):
        at = 2 * size + row * index
        start, end, offset = (value for (value,) in struct.iter_unpack(word, note[at : at + row]))
        name = path.decode("utf-8", "backslashreplace")
        found.append(
            Region(start, end, True, False, False, False, offset * page & _ADDRESS, 1, name)
        )
    return found


def render_maps(regions: tuple[Region, ...]) -> bytes:
    """As /proc/PID/maps has it; devices are not known."""
    lines = []
    for region in regions:
        rights = "".join(
            letter if has else "-"
            for letter, has in zip(
                "rwx", (region.readable, region.writable, region.executable), strict=True
            )
        )
        place = f"{region.start:x}-{region.end:x} {rights}{'s' if region.shared else 'p'}"
        line = f"{place} {region.file_offset:08x} 00:00 {region.inode} {region.path}"
        lines.append(line.rstrip(" "))
    return "".join(line + "\n" for line in lines).encode("utf-8", "surrogateescape")


def _join_segments(segments: Iterable[ProgramHeader], files: list[Region]) -> Iterator[Region]:
    """Mappings again: segments that continue each other were one."""
    by_start = {file.start: file for file in files}
    last: Region | None = None
    current: Region | None = None
    for segment in sorted(
        (s for s in segments if s.type == PT_LOAD and s.memory_size),
        key=lambda s: s.address,
    ):
        end = segment.address + segment.memory_size
        if end > 1 << 64 or (last is not None and segment.address < last.end):
            continue
        current = by_start.get(segment.address, current)
        is_mapped = current is not None and current.start <= segment.address < current.end
        region = Region(
            start=segment.address,
            end=end,
            readable=bool(segment.flags & PF_R),
            writable=bool(segment.flags & PF_W),
            executable=bool(segment.flags & PF_X),
            shared=False,
            file_offset=current.file_offset + segment.address - current.start
            if is_mapped and current
            else 0,
            inode=1 if is_mapped else 0,
            path=current.path if is_mapped and current else "",
        )
        if last is not None and _continues(last, region):
            last = _join(last, region)
            continue
        if last is not None:
            yield last
        last = region
    if last is not None:
        yield last


def _continues(last: Region, region: Region) -> bool:
    return (
        last.end == region.start
        and last.path == region.path
        and (last.readable, last.writable, last.executable)
        == (region.readable, region.writable, region.executable)
        and (not region.path or region.file_offset == last.file_offset + last.size)
    )


def _join(last: Region, region: Region) -> Region:
    return Region(
        last.start, region.end, last.readable, last.writable, last.executable, last.shared,
        last.file_offset, last.inode, last.path,
    )  # fmt: skip


def _add_files(regions: list[Region], files: list[Region]) -> list[Region]:
    """With the mappings of files that have no segment, in order.

    gdb leaves those out that it does not write: code and constants."""
    found = []
    at = 0
    for file in sorted(files, key=lambda file: file.start):
        while at < len(regions) and regions[at].end <= file.start:
            found.append(regions[at])
            at += 1
        last = max(found[-1].end if found else 0, 0)
        is_free = at == len(regions) or regions[at].start >= file.end
        if is_free and last <= file.start < file.end:
            found.append(replace(file, executable=True))
    return [*found, *regions[at:]]
