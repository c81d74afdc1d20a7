"""The identity of a process: never a bare pid."""

from __future__ import annotations

from dataclasses import dataclass


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
