"""The settings of the system's collector."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perimortem.errors import UsageError
from perimortem.model.dump import MinidumpType

DUMP_COUNT_DEFAULT = 10
_NAME_MAX = 200
_FORBIDDEN = set('\\/:*?"<>|')


@dataclass(frozen=True)
class Rule:
    """Windows has one rule per program, Linux one for all (``program`` is None)."""

    program: str | None
    folder: Path
    """Windows: the dump directory. Linux: the run directory of the monitor that takes them."""
    count: int = DUMP_COUNT_DEFAULT
    types: MinidumpType | None = None
    """Windows: None takes the system's own full dump."""
    replaces: bool = False
    """Linux: replace a handler that is not ours."""
    chains: bool = False
    """Linux: also pass each core to that handler."""
    lasts: bool = True
    """Linux: install again at the next boot."""


@dataclass(frozen=True)
class InstalledRule:
    """An installed rule. ``is_ours``: written by us, so that we may remove it.

    ``crashes``: Linux: what became of the crashes since `install`, by the field names of
    ``layout.Counts``; None: not counted."""

    program: str
    folder: str | None
    count: int | None
    kind: str
    is_ours: bool
    crashes: dict[str, int] | None = None


def check_program_name(name: str) -> str:
    """A file name, not a path. Raises UsageError."""
    is_file_name = name == name.strip(". ") and "." in name and len(name) <= _NAME_MAX
    if not is_file_name or _FORBIDDEN & set(name) or not name.isprintable():
        raise UsageError(
            f"'{name[:60]}' is not the name of a program",
            why="the system knows programs by file name: no folder, but with the extension",
            remedy="example: server.exe",
        )
    return name
