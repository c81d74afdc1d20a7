"""/proc/PID/maps and smaps, parsed (proc_pid_maps(5))."""

from __future__ import annotations

import re
from collections.abc import Iterator

from perimortem.model.snapshot import Region

_LINE = re.compile(
    rb"([0-9a-f]{1,16})-([0-9a-f]{1,16}) ([r-])([w-])([x-])([ps]) ([0-9a-f]{1,16}) \S+ (\d{1,20})"
    rb"(?: +(.*))?"
)
_WITH_FLAGS = re.compile(rb"^(([0-9a-f]{1,16})-.*)\n(?:[A-Z].*\n)*?VmFlags:(.*)", re.M)
_FLAGS_OF_NOTE = frozenset({"dd", "io", "pf", "ht", "dc", "wf", "um", "uw", "ui"})
"""Not to be dumped; device; hugetlb; not forked; wiped on fork; userfaultfd (proc_pid_smaps(5))."""


def parse_maps(text: bytes) -> tuple[Region, ...]:
    """Every mapping, in address order. Lines in another format are skipped."""
    return tuple(iterate_maps(text))


def iterate_maps(text: bytes) -> Iterator[Region]:
    """The same one by one, for those who look for one of them."""
    return _parse(text, {})


def parse_smaps(text: bytes, *, of_note: bool = False) -> tuple[Region, ...]:
    """The same with VmFlags (dd: do not dump, io and pf: device memory).

    ``of_note``: only mappings whose flags a dump must respect; they are few.
    """
    flags: dict[int, frozenset[str]] = {}
    heads = []
    for head, start, words in _WITH_FLAGS.findall(text):
        found = frozenset(words.decode("ascii", "replace").split())
        if not of_note or found & _FLAGS_OF_NOTE:
            heads.append(head)
            flags[int(start, 16)] = found
    return tuple(_parse(b"\n".join(heads), flags))


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
            path=(match[9] or b"").decode("utf-8", "backslashreplace"),
            vm_flags=flags.get(start, frozenset()),
        )
