"""/proc/PID/maps and smaps, parsed (proc_pid_maps(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace

from perimortem.model.snapshot import Region

_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) ([r-])([w-])([x-])([ps]) ([0-9a-f]+) \S+ (\d+) *(.*)")
_WITH_FLAGS = re.compile(rb"^(([0-9a-f]+)-.*)\n(?:[A-Z].*\n)*?VmFlags:(.*)", re.M)
FLAGS_OF_NOTE = frozenset({"dd", "io", "pf", "ht", "dc", "wf", "um", "uw", "ui"})
"""Not to be dumped; device; hugetlb; not forked; wiped on fork; userfaultfd (proc_pid_smaps(5))."""
UNREADABLE_PATHS = frozenset({"[vvar]", "[vvar_vclock]", "[vsyscall]"})


def parse_maps(text: bytes) -> tuple[Region, ...]:
    """Every mapping, in address order. Lines in another format are skipped."""
    return tuple(_parse(text, {}))


def parse_smaps(text: bytes, *, of_note: bool = False) -> tuple[Region, ...]:
    """The same with VmFlags (dd: do not dump, io and pf: device memory).

    ``of_note``: only mappings whose flags a dump must respect; they are few.
    """
    flags: dict[int, frozenset[str]] = {}
    heads = []
    for head, start, words in _WITH_FLAGS.findall(text):
        found = frozenset(words.decode("ascii", "replace").split())
        if not of_note or found & FLAGS_OF_NOTE:
            heads.append(head)
            flags[int(start, 16)] = found
    return tuple(_parse(b"\n".join(heads), flags))


def with_flags(regions: tuple[Region, ...], earlier: tuple[Region, ...]) -> tuple[Region, ...]:
    """``regions`` with the VmFlags that those at the same place had a moment before."""
    flagged = []
    for region in regions:
        before = find_region(earlier, region.start)
        is_same = before is not None and before.path == region.path
        flagged.append(replace(region, vm_flags=before.vm_flags) if is_same and before else region)
    return tuple(flagged)


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
