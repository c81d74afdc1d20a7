"""How much memory is still available: on the machine, and in the control group of a process."""

from __future__ import annotations

import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.procfs.cgroup import MEMORY_ROOT_1, ROOTS_2, read_groups
from perimortem.procfs.file import read_file, read_text
from perimortem.procfs.status import find_field, sum_kib


def read_memory_room(pid: int) -> int | None:
    """Bytes, by the tightest limit; None if nothing can be read."""
    rooms = [_machine_room(), *_group_rooms(pid)]
    return min((room for room in rooms if room is not None), default=None)


def _machine_room() -> int | None:
    facts = read_file("/proc/meminfo")
    return sum_kib(facts, ("MemAvailable",)) if find_field(facts, "MemAvailable") else None


def _group_rooms(pid: int) -> list[int | None]:
    rooms = []
    for group in read_groups(f"/proc/{pid}"):
        if "memory" in group.controllers:
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            rooms += [_room(at, *names) for at in _upwards(MEMORY_ROOT_1, group.path)]
        elif not group.controllers:
            names = ("memory.max", "memory.current", "inactive_file")
            rooms += [_room(at, *names) for root in ROOTS_2 for at in _upwards(root, group.path)]
    return rooms


def _upwards(root: Path, path: str) -> list[Path]:
    """The group and its ancestors: each has its own limit."""
    group = root / path.lstrip("/")
    return [at for at in (group, *group.parents) if at == root or root in at.parents]


def _room(group: Path, limit_name: str, usage_name: str, cache_name: str) -> int | None:
    limit, usage = _number(read_text(group / limit_name)), _number(read_text(group / usage_name))
    if limit is None or usage is None:
        return None
    cache = 0
    for line in read_text(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == cache_name:
            cache = _number(value) or 0
    return max(0, limit - usage + cache)


def _number(text: str) -> int | None:
    """None for "max", and for a missing file."""
    return int(text) if text.strip().isdecimal() else None
