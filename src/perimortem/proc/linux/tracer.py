"""The tracer of a process (proc_pid_status(5))."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.procfs.status import read_status


def read_tracer(pid: int) -> int | None:
    """The pid of its debugger or other tracer; None if it is not traced."""
    status = read_status(pid)
    return status.tracer_pid or None if status is not None else None
