"""Find the processes that a watch was asked for: by pid, by name, by unit; waiting if need be."""

from __future__ import annotations

import fnmatch
import os
import time
from dataclasses import dataclass

from perimortem.proc import list_ancestors, list_processes, list_unit_processes

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
        own = list_ancestors()
        unit = self.unit or ""
        found = _find_by_name(self.pattern) if self.pattern else list_unit_processes(unit)
        return [pid for pid in found if pid not in own]

    def wait(self) -> list[int]:
        """The same, waiting until there is one (Ctrl-C ends the wait)."""
        while not (found := self.find()):
            time.sleep(_POLL_S)
        return found


def _find_by_name(pattern: str) -> list[int]:
    """Name or program file name matches, as file names do on this system (fnmatch)."""
    wanted = os.path.normcase(pattern)
    return [
        pid
        for pid, names in list_processes()
        if any(fnmatch.fnmatchcase(os.path.normcase(name), wanted) for name in names)
    ]
