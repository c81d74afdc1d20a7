"""What may come to a process from outside as a signal: its handlers, and its timers."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.procfs.file import read_text
from perimortem.procfs.status import find_field, read_status

_SIGNALS = 64


def read_caught(pid: int) -> frozenset[int]:
    """The signals for which it has handlers; all, if that cannot be read."""
    status = read_status(pid)
    mask = find_field(status.raw, "SigCgt") if status is not None else None
    try:
        caught = int(mask or "", 16)
    except ValueError:
        return frozenset(range(1, _SIGNALS + 1))
    return frozenset(number for number in range(1, _SIGNALS + 1) if caught >> (number - 1) & 1)


def find_timer(pid: int) -> str:
    """A timer of timer_create(2); those of alarm(2) and setitimer(2) are visible nowhere."""
    return "a timer (timer_create)" if "ID:" in read_text(f"/proc/{pid}/timers") else ""
