"""Threads: registers of the stopped ones, names and times of all."""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

from perimortem.binary.user_regs import SIZE, parse_registers
from perimortem.capture.linux import ptrace
from perimortem.model.snapshot import Registers, Thread
from perimortem.text import printable

_TICK_100NS = 10_000_000 // os.sysconf("SC_CLK_TCK")
# Of /proc/PID/task/TID/stat, counted after the command name: state 0, utime 11, stime 12,
# priority 15, starttime 19.


def read_registers(tid: int) -> Registers | None:
    """All register sets of a stopped thread; None when it went away."""
    general = ptrace.read_regset(tid, ptrace.NT_PRSTATUS)
    if general is None or len(general) != SIZE:
        return None
    return Registers(
        general=parse_registers(general),
        floating_point=ptrace.read_regset(tid, ptrace.NT_PRFPREG),
        extended=None,
    )


def collect_thread(pid: int, tid: int, registers: Registers | None, boot_100ns: int) -> Thread:
    """Name and times of a thread; unknown ones stay at their defaults when it went away.

    ``boot_100ns``: the time of boot, in 100 ns units since 1601 (FILETIME).
    """
    base = f"/proc/{pid}/task/{tid}"
    name, state, user, kernel, start, priority = "", None, 0, 0, 0, 0
    try:
        with open(f"{base}/comm", "rb", buffering=0) as file:
            name = printable(file.read(64).rstrip(b"\n").decode("utf-8", "backslashreplace"))
        with open(f"{base}/stat", "rb", buffering=0) as file:
            fields = file.read(4096).rpartition(b")")[2].split()
        state = fields[0].decode("ascii", "replace")
        user = int(fields[11]) * _TICK_100NS
        kernel = int(fields[12]) * _TICK_100NS
        priority = int(fields[15])
        start = boot_100ns + int(fields[19]) * _TICK_100NS
    except (OSError, ValueError, IndexError):
        pass
    try:
        affinity = sum(1 << cpu for cpu in os.sched_getaffinity(tid) if cpu < 64)
    except OSError:
        affinity = 0
    return Thread(tid, name, registers, state, user, kernel, start, affinity, priority)
