"""Did a process end because it reached one of its limits (setrlimit(2))? Read before it is reaped."""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

from perimortem.exits.signals import SIGKILL, SIGXCPU, SIGXFSZ
from perimortem.model.fact import Fact, FactCode, Value, assumed, derived
from perimortem.procfs.file import read_text
from perimortem.procfs.stat import read_stat

_CPU, _FILE_SIZE = "Max cpu time", "Max file size"
_NEAR_S, _NEAR = 0.5, 0.9
"""So much less than the limit, or this part of it, the shown time may be: for the limit the kernel
counts whole ticks, which on a busy machine are more than the time that was used. Arbitrary."""
_SURE = 0.95
_SOURCE = "limits"
_TICKS = os.sysconf("SC_CLK_TCK")


def find_reached_limit(pid: int, signal: int | None) -> Fact | None:
    """For a process that ``signal`` has ended. None: no limit explains it, or it is reaped."""
    if signal not in (SIGXCPU, SIGXFSZ, SIGKILL):
        return None
    from perimortem.exits.limits import parse_limit  # few ends need it

    limits = read_text(f"/proc/{pid}/limits")
    if signal == SIGXFSZ:
        size = parse_limit(limits, _FILE_SIZE, is_hard=False)
        if size is None:
            return None
        values: dict[str, Value] = {"limit": "file-size", "value": size, "used_s": None}
        return derived(FactCode.LIMIT_REACHED, _SOURCE, **values)
    most_s = parse_limit(limits, _CPU, is_hard=signal == SIGKILL)
    if most_s is not None and signal == SIGXCPU:
        most_s -= 1  # the kernel raises the soft limit by a second when it sends the signal
    facts = read_stat(pid)
    if most_s is None or facts is None:
        return None
    used_s = facts.cpu_ticks / _TICKS
    if used_s < min(most_s - _NEAR_S, _NEAR * most_s):
        return None
    known = derived if used_s >= _SURE * most_s else assumed
    return known(
        FactCode.LIMIT_REACHED, _SOURCE, limit="cpu", value=most_s, used_s=round(used_s, 2)
    )
