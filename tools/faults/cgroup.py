"""A cgroup with limits, of version 1 or 2; for root."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
from contextlib import suppress
from pathlib import Path

from .processes import await_true, kill

_ROOT = Path("/sys/fs/cgroup")


class _Group:
    def __init__(self, controller: str) -> None:
        """Raises OSError if there is no such controller."""
        first = _ROOT / controller
        base = first if first.is_dir() else _ROOT
        self.is_v2 = base is _ROOT
        self._path = base / f"faults-{os.getpid()}"
        self._path.mkdir()

    def enter(self) -> None:
        """This process, and what it starts from now on."""
        (self._path / "cgroup.procs").write_text(str(os.getpid()))

    def write(self, name: str, value: int) -> None:
        """Raises OSError."""
        (self._path / name).write_text(str(value))

    def remove(self) -> None:
        """Ends what is in it."""

        def try_remove() -> bool:
            for line in (self._path / "cgroup.procs").read_text().split():
                kill(int(line))
            with suppress(OSError):
                self._path.rmdir()
                return True
            return False

        await_true(try_remove, 20)


class MemoryGroup(_Group):
    def __init__(self, limit_bytes: int) -> None:
        super().__init__("memory")
        try:
            self.write("memory.max" if self.is_v2 else "memory.limit_in_bytes", limit_bytes)
        except OSError:
            self.remove()
            raise


class PidsGroup(_Group):
    def __init__(self, limit: int) -> None:
        super().__init__("pids")
        try:
            self.write("pids.max", limit)
        except OSError:
            self.remove()
            raise


def why_no_group(kind: type[MemoryGroup] | type[PidsGroup]) -> str | None:
    """Why there can be none here."""
    if os.geteuid() != 0:
        return "needs root, for a cgroup"
    try:
        kind(1 << 22).remove()
    except OSError as error:
        return f"no cgroup can be made: {error}"
    return None
