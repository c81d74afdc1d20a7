"""The identity of a process: never a bare pid."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

_TITLE_MAX = 60


@dataclass(frozen=True)
class ProcessRef:
    """Identifies a process for all time: a pid is reused, the pair with its start time is not.

    ``start_time_ticks`` is field 22 of /proc/PID/stat, in clock ticks since boot.
    """

    pid: int
    start_time_ticks: int


@dataclass(frozen=True)
class ProcessInfo:
    """A watched process and its name when the watch began (printable text)."""

    ref: ProcessRef
    name: str
    executable: str | None
    command_line: tuple[str, ...]
    started_at_ns: int
    """Wall clock, nanoseconds since the epoch."""


def find_title(command_line: Sequence[str]) -> str:
    """What a process has written in the place of its command line (setproctitle): "postgres: walwriter".

    Empty if it looks like a command line: several arguments, or one without a space, or a path."""
    command_line = [argument for argument in command_line if argument]
    first, space, _ = command_line[0].partition(" ") if len(command_line) == 1 else ("", "", "")
    if not space or "/" in first or "\\" in first:
        return ""
    return command_line[0].strip()[:_TITLE_MAX]
