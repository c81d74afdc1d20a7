"""Out-of-memory kills that a memory cgroup counts: support for a verdict, never proof of one.

Version 2 has memory.events, version 1 memory.oom_control. A group is shared: the process killed may be
any of the group.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path

assert sys.platform == "linux"

from perimortem.text import printable

_ROOTS_2 = (Path("/sys/fs/cgroup"), Path("/sys/fs/cgroup/unified"))
_ROOT_1 = Path("/sys/fs/cgroup/memory")
_UNLIMITED = 1 << 60


@dataclass(frozen=True)
class _Group:
    name: str
    counter: Path
    limit: Path


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
        return f"its memory cgroup {self._group.name} counted {kills} while it was watched{bound}"

    def _count(self) -> int | None:
        if self._group is None:
            return None
        for line in _read(self._group.counter).splitlines():
            name, _, value = line.partition(" ")
            if name == "oom_kill" and value.isdecimal():
                return int(value)
        return None


def _find_group(pid: int) -> _Group | None:
    for line in _read(Path(f"/proc/{pid}/cgroup")).splitlines():
        _, _, rest = line.partition(":")
        controllers, _, path = rest.partition(":")
        name = printable(path)
        below = path.lstrip("/")
        if "memory" in controllers.split(","):
            base = _ROOT_1 / below
            return _Group(name, base / "memory.oom_control", base / "memory.limit_in_bytes")
        for root in _ROOTS_2 if not controllers else ():
            if (root / below / "memory.events").exists():
                base = root / below
                return _Group(name, base / "memory.events", base / "memory.max")
    return None


def _read_number(path: Path) -> int | None:
    text = _read(path).strip()
    return int(text) if text.isdecimal() else None


def _read(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8", errors="replace")
    except OSError:
        return ""
