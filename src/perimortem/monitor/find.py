"""Find the processes that a watch was asked for: by pid, by name, by unit; waiting if need be."""

from __future__ import annotations

import fnmatch
import os
import sys
import time
from dataclasses import dataclass

assert sys.platform == "linux"

import psutil

from perimortem.proc.cgroup import find_unit, list_processes

_POLL_S = 0.25


@dataclass(frozen=True)
class Wanted:
    """Exactly one of the three."""

    pids: tuple[int, ...] = ()
    pattern: str | None = None
    unit: str | None = None

    @property
    def may_come(self) -> bool:
        """More may appear that match."""
        return bool(self.pattern or self.unit)

    def __str__(self) -> str:
        if self.pattern:
            return f"a process named {self.pattern}"
        return f"a process of the unit {self.unit}" if self.unit else "the processes"

    def find(self) -> list[int]:
        """Those that match now, without ourselves and our parents."""
        if self.pids:
            return list(self.pids)
        own = {os.getpid(), *(parent.pid for parent in psutil.Process().parents())}
        found = _find_by_name(self.pattern) if self.pattern else _find_by_unit(self.unit or "")
        return [pid for pid in found if pid not in own]

    def wait(self) -> list[int]:
        """The same, waiting until there is one (Ctrl-C ends the wait)."""
        while not (found := self.find()):
            time.sleep(_POLL_S)
        return found


def _find_by_name(pattern: str) -> list[int]:
    """Name or program file name matches (fnmatch)."""
    found = []
    for process in psutil.process_iter(["name", "exe"]):
        names = {process.info["name"] or "", os.path.basename(process.info["exe"] or "")}
        if any(fnmatch.fnmatchcase(name, pattern) for name in names if name):
            found.append(process.pid)
    return found


def _find_by_unit(unit: str) -> list[int]:
    return list_processes(find_unit(unit))
