"""/proc/PID/maps and smaps, parsed (proc_pid_maps(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator

from perimortem.model.snapshot import Region

_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) ([0-9a-f]+) \S+ (\d+) *(.*)")
UNREADABLE_PATHS = frozenset({"[vvar]", "[vvar_vclock]", "[vsyscall]"})


def parse_maps(text: bytes) -> tuple[Region, ...]:
    """Every mapping, in address order. Lines that are not of the format are passed over."""
    return tuple(_parse(text, {}))


def parse_smaps(text: bytes) -> tuple[Region, ...]:
    """The same with VmFlags (dd: do not dump, io and pf: device memory)."""
    flags: dict[int, frozenset[str]] = {}
    address = 0
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if match:
            address = int(match[1], 16)
        elif line.startswith(b"VmFlags:"):
            flags[address] = frozenset(line[8:].decode("ascii", "replace").split())
    return tuple(_parse(text, flags))


def _parse(text: bytes, flags: dict[int, frozenset[str]]) -> Iterator[Region]:
    for line in text.splitlines():
        match = _LINE.fullmatch(line)
        if not match:
            continue
        start = int(match[1], 16)
        yield Region(
            start=start,
            end=int(match[2], 16),
            readable=match[3] == b"r",
            writable=match[4] == b"w",
            executable=match[5] == b"x",
            shared=match[6] == b"s",
            file_offset=int(match[7], 16),
            inode=int(match[8]),
            path=match[9].decode("utf-8", "backslashreplace"),
            vm_flags=flags.get(start, frozenset()),
        )


def find_region(regions: tuple[Region, ...], address: int) -> Region | None:
    """The mapping that holds ``address``."""
    low, high = 0, len(regions)
    while low < high:
        middle = (low + high) // 2
        if regions[middle].end <= address:
            low = middle + 1
        else:
            high = middle
    if low < len(regions) and regions[low].start <= address:
        return regions[low]
    return None
