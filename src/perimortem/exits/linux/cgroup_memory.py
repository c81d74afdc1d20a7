"""Out-of-memory kills that a memory cgroup counts: support for a verdict, never proof of one.

Version 2 has memory.events, version 1 memory.oom_control. A group is shared: the process killed may be
any of the group.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

assert sys.platform == "linux"

from perimortem.procfs.cgroup import MEMORY_ROOT_1, ROOTS_2, read_groups
from perimortem.procfs.file import read_text
from perimortem.text import printable

_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class _Group:
    name: str
    counter: Path
    limit: Path
    peak: Path
    """Since Linux 5.19 in version 2."""


class CgroupMemory:
    """Counts from the start of the watch."""

    def __init__(self, pid: int) -> None:
        self._group = _find_group(pid)
        self._before = self._count()

    def describe_kills(self) -> str | None:
        """What it has counted since, as text; None if nothing."""
        now = self._count()
        if self._group is None or now is None or self._before is None or now <= self._before:
            return None
        count = now - self._before
        kills = "one out-of-memory kill" if count == 1 else f"{count} out-of-memory kills"
        limit = _read_number(self._group.limit)
        bound = f", limit {limit >> 20} MiB" if limit is not None and limit < _UNLIMITED else ""
        peak = _read_number(self._group.peak)
        used = f", {peak >> 20} MiB used at most" if peak is not None else ""
        name = self._group.name
        return f"its memory cgroup {name} counted {kills} while it was watched{bound}{used}"

    def _count(self) -> int | None:
        if self._group is None:
            return None
        for line in read_text(self._group.counter).splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdecimal():
                return int(value)
        return None


def _find_group(pid: int) -> _Group | None:
    for group in read_groups(f"/proc/{pid}"):
        name = printable(group.path)
        below = group.path.lstrip("/")
        if "memory" in group.controllers:
            base = MEMORY_ROOT_1 / below
            return _Group(
                name,
                base / "memory.oom_control",
                base / "memory.limit_in_bytes",
                base / "memory.max_usage_in_bytes",
            )
        for root in ROOTS_2 if not group.controllers else ():
            if (root / below / "memory.events").exists():
                base = root / below
                return _Group(
                    name, base / "memory.events", base / "memory.max", base / "memory.peak"
                )
    return None


def _read_number(path: Path) -> int | None:
    text = read_text(path).strip()
    return int(text) if text.isdecimal() else None
