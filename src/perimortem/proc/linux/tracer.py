"""The tracer of a process (proc_pid_status(5))."""

from __future__ import annotations

import sys

assert sys.platform == "linux"


def read_tracer(pid: int) -> int | None:
    """The pid of its debugger or other tracer; None if it is not traced."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("TracerPid:")), "")
    except OSError:
        return None
    number = line.partition(":")[2].strip()
    return int(number) if number.isdecimal() and number != "0" else None
