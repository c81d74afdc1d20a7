"""/proc/PID/stat, read and checked (proc_pid_stat(5))."""

from __future__ import annotations

import os
import sys
from dataclasses import dataclass

assert sys.platform == "linux"


@dataclass(frozen=True)
class ProcessStat:
    """The fields that we use. ``exit_code`` is None if this user is not allowed to see it."""

    name: str
    state: str
    parent_pid: int
    user_ticks: int
    kernel_ticks: int
    start_time_ticks: int
    exit_code: int | None
    thread_count: int
    resident_pages: int

    @property
    def is_dead(self) -> bool:
        """A zombie, and not just a leader that exited by pthread_exit while threads live."""
        return self.state in ("Z", "X") and self.thread_count <= 1

    @classmethod
    def of_thread(cls, pid: int, tid: int) -> ProcessStat | None:
        """The facts of one thread, or None if it is gone."""
        return _read(f"/proc/{pid}/task/{tid}/stat", pid)

    @classmethod
    def parse(cls, raw: bytes, *, may_see_exit_code: bool) -> ProcessStat | None:
        """The command name may hold spaces, brackets and newlines: fields count from the last ')'."""
        opening, closing = raw.find(b"("), raw.rfind(b")")
        fields = raw[closing + 1 :].split()
        if opening < 0 or closing < opening or len(fields) < 50:
            return None
        try:
            exit_code = int(fields[49])
            return cls(
                name=raw[opening + 1 : closing].decode("utf-8", "backslashreplace"),
                state=fields[0].decode("ascii", "replace"),
                parent_pid=int(fields[1]),
                user_ticks=int(fields[11]),
                kernel_ticks=int(fields[12]),
                start_time_ticks=int(fields[19]),
                # Shown as 0 to users who are not allowed to see it: only a zero is in doubt.
                exit_code=exit_code if may_see_exit_code or exit_code else None,
                thread_count=int(fields[17]),
                resident_pages=int(fields[21]),
            )
        except ValueError:
            return None


def read_stat(pid: int) -> ProcessStat | None:
    """The facts of a process, or None if it is gone."""
    return _read(f"/proc/{pid}/stat", pid)


def _read(path: str, pid: int) -> ProcessStat | None:
    try:
        with open(path, "rb", buffering=0) as file:
            raw = file.read(4096)
    except OSError:
        return None
    return ProcessStat.parse(raw, may_see_exit_code=_may_see_exit_code(pid))


def _may_see_exit_code(pid: int) -> bool:
    """The kernel shows it to root and to the same user, and a zero to all others."""
    try:
        return os.geteuid() in (0, os.stat(f"/proc/{pid}").st_uid)
    except OSError:
        return False
