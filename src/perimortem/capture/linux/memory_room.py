"""How much memory is still available: on the machine, and in the control group of a process."""

from __future__ import annotations

import sys
from pathlib import Path

assert sys.platform == "linux"

_ROOTS_2 = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
_ROOT_1 = Path("/sys/fs/cgroup/memory")


def read_memory_room(pid: int) -> int | None:
    """Bytes, by the tightest limit; None if nothing can be read."""
    rooms = [_machine_room(), *_group_rooms(pid)]
    return min((room for room in rooms if room is not None), default=None)


def _machine_room() -> int | None:
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            return int(line.split()[1]) << 10
    return None


def _group_rooms(pid: int) -> list[int | None]:
    rooms = []
    for line in _read(Path(f"/proc/{pid}/cgroup")).splitlines():
        controllers, _, path = line.partition(":")[2].partition(":")
        if "memory" in controllers.split(","):
            names = ("memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file")
            rooms += [_room(at, *names) for at in _upwards(_ROOT_1, path)]
        elif not controllers:
            names = ("memory.max", "memory.current", "inactive_file")
            rooms += [_room(at, *names) for root in _ROOTS_2 for at in _upwards(root, path)]
    return rooms


def _upwards(root: Path, path: str) -> list[Path]:
    """The group and its ancestors: each has its own limit."""
    group = root / path.lstrip("/")
    return [at for at in (group, *group.parents) if at == root or root in at.parents]


def _room(group: Path, limit_name: str, usage_name: str, cache_name: str) -> int | None:
    limit, usage = _number(_read(group / limit_name)), _number(_read(group / usage_name))
    if limit is None or usage is None:
        return None
    cache = 0
    for line in _read(group / "memory.stat").splitlines():
        name, _, value = line.partition(" ")
        if name == cache_name:
            cache = _number(value) or 0
    return max(0, limit - usage + cache)


def _number(text: str) -> int | None:
    """None for "max", and for a missing file."""
    return int(text) if text.strip().isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="ascii", errors="replace")
    except OSError:
        return ""
