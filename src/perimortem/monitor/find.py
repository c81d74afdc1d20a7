"""Find the processes to watch, by pid, name or unit; wait for them if need be."""

from __future__ import annotations

import fnmatch
import os
import time
from dataclasses import dataclass

from perimortem.errors import UsageError
from perimortem.proc import has_units, list_ancestors, list_processes, list_unit_processes

_POLL_S = 0.25


@dataclass(frozen=True)
class Wanted:
    """Either pids, or names and units."""

    pids: tuple[int, ...] = ()
    patterns: tuple[str, ...] = ()
    """Names of processes or their program files, with * and ?."""
    units: tuple[str, ...] = ()

    @property
    def may_come(self) -> bool:
        """More matching processes may appear."""
        return bool(self.patterns or self.units)

    def __str__(self) -> str:
        """ "a process named nginx or of the unit redis"."""
        named = " or ".join(self.patterns)
        of_units = " or ".join(self.units)
        parts = [f"named {named}"] if named else []
        parts += [f"of the unit {of_units}"] if of_units else []
        return "a process " + " or ".join(parts) if parts else "the processes"

    def check(self) -> None:
        """Raises UsageError if units are requested and this system has none."""
        if self.units and not has_units() and not self.find():
            raise UsageError(
                f"there is no unit {self.units[0]}",
                why="systemd is not running",
                remedy="watch by --name or by PID",
            )

    def find(self) -> list[int]:
        """Those that match now, excluding ourselves and our ancestors."""
        if self.pids:
            return list(self.pids)
        own = list_ancestors()
        found = dict.fromkeys(_find_by_names(self.patterns)) if self.patterns else {}
        for unit in self.units:
            found |= dict.fromkeys(list_unit_processes(unit))
        return [pid for pid in found if pid not in own]

    def wait(self) -> list[int]:
        """The same, waiting until there is one (Ctrl-C ends the wait)."""
        while not (found := self.find()):
            time.sleep(_POLL_S)
        return found


def _find_by_names(patterns: tuple[str, ...]) -> list[int]:
    """Name or program file name matches, like file names on this system (fnmatch)."""
    wanted = [os.path.normcase(pattern) for pattern in patterns]
    return [
        pid
        for pid, names in list_processes()
        if any(
            fnmatch.fnmatchcase(os.path.normcase(name), pattern)
            for name in names
            for pattern in wanted
        )
    ]
