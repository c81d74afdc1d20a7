"""The facts that identify a process, and whether it has ended."""

from __future__ import annotations

import ntpath
import sys
import time
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.process import (
    is_running,
    read_basic_information,
    read_image_path,
    read_times,
)

_EPOCH_100NS = 116_444_736_000_000_000
_TOLERANCE_100NS = 50_000_000


@dataclass(frozen=True)
class ProcessStat:
    """``start_time_ticks``: its creation time, 100 ns since 1601."""

    name: str
    parent_pid: int
    start_time_ticks: int
    is_dead: bool
    """It has ended, but handles of it are still open."""


def read_stat(pid: int) -> ProcessStat | None:
    """The facts of a process; None if it is gone, or if even its times are refused."""
    with kernel32.open_process(kernel32.PROCESS_QUERY_LIMITED_INFORMATION, pid) as handle:
        times = read_times(handle) if handle else None
        # In its first moment a process has no times yet, or invalid ones.
        if not handle or times is None or not 0 < times.created <= _now_100ns():
            return None
        return ProcessStat(
            name=ntpath.basename(read_image_path(handle) or "") or str(pid),
            parent_pid=_read_parent_pid(handle),
            start_time_ticks=times.created,
            is_dead=not is_running(handle),
        )


def _now_100ns() -> int:
    return time.time_ns() // 100 + _EPOCH_100NS + _TOLERANCE_100NS


def _read_parent_pid(handle: int) -> int:
    information = read_basic_information(handle)
    return 0 if information is None else int(information.InheritedFromUniqueProcessId)
