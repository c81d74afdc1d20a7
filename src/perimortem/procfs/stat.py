"""/proc/PID/stat, read and checked (proc_pid_stat(5))."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass, replace

assert sys.platform == "linux"

from perimortem.procfs.file import read_record

_FIELDS = 50
_KERNEL_THREAD = 0x00200000
"""PF_KTHREAD."""


@dataclass(frozen=True)
class ProcessStat:
    """The fields that we use, of a process or of one thread."""

    name: str
    state: str
    parent_pid: int
    flags: int
    user_ticks: int
    kernel_ticks: int
    priority: int
    thread_count: int
    start_time_ticks: int
    resident_pages: int
    exit_signal: int
    environment: tuple[int, int]
    """Its start and end; 0 if this user is not allowed to see it."""
    exit_code: int | None
    """None before the end, and if this user is not allowed to see it."""

    @property
    def cpu_ticks(self) -> int:
        return self.user_ticks + self.kernel_ticks

    @property
    def has_ended(self) -> bool:
        """A zombie; of a leader that exited by pthread_exit, while threads live, as well."""
        return self.state in ("Z", "X")

    @property
    def is_dead(self) -> bool:
        """A zombie, and not just a leader that exited by pthread_exit while threads live."""
        return self.has_ended and self.thread_count <= 1

    @property
    def is_kernel_thread(self) -> bool:
        return bool(self.flags & _KERNEL_THREAD)


def read_stat(pid: int) -> ProcessStat | None:
    """The facts of a process, or None if it is gone."""
    return _read(f"/proc/{pid}/stat", pid)


def read_thread_stat(pid: int, tid: int) -> ProcessStat | None:
    """The facts of one thread, or None if it is gone."""
    return _read(f"/proc/{pid}/task/{tid}/stat", pid)


def parse_stat(raw: bytes, *, may_see_exit_code: bool) -> ProcessStat | None:
    """The command name may hold spaces, brackets and newlines: fields count from the last ')'."""
    opening, closing = raw.find(b"("), raw.rfind(b")")
    fields = raw[closing + 1 :].split()
    if opening < 0 or closing < opening or len(fields) < _FIELDS:
        return None
    try:
        exit_code = int(fields[49])
        return ProcessStat(
            name=raw[opening + 1 : closing].decode("utf-8", "backslashreplace"),
            state=fields[0].decode("ascii", "replace"),
            parent_pid=int(fields[1]),
            flags=int(fields[6]),
            user_ticks=int(fields[11]),
            kernel_ticks=int(fields[12]),
            priority=int(fields[15]),
            thread_count=int(fields[17]),
            start_time_ticks=int(fields[19]),
            resident_pages=int(fields[21]),
            exit_signal=int(fields[35]),
            environment=(int(fields[47]), int(fields[48])),
            # Shown as 0 to users who may not see it: only a zero is in doubt.
            exit_code=exit_code if may_see_exit_code or exit_code else None,
        )
    except ValueError:
        return None


def _read(path: str, pid: int) -> ProcessStat | None:
    facts = parse_stat(read_record(path), may_see_exit_code=False)
    if facts is None or not facts.has_ended or facts.exit_code is not None:
        return facts
    return replace(facts, exit_code=0) if _may_see_exit_code(pid) else facts


def _may_see_exit_code(pid: int) -> bool:
    """The kernel shows it to root and to the same user, and a zero to all others."""
    try:
        return os.geteuid() in (0, os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return False
