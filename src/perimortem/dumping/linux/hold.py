"""What a worker leaves behind in a target when it is killed: at most a dead clone, to be waited for.

Frozen threads are let go by the kernel, a call that was being injected heals itself, a living clone ends
with its tracer. Only who waits for the clone is missing then.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

assert sys.platform == "linux"

_TICKS_PER_S = 100  # USER_HZ, in which /proc counts
_PATIENCE_S = 5.0


@dataclass(frozen=True)
class Hold:
    """How the target stood before the dump."""

    suspended: tuple[tuple[int, int], ...] = ()
    """(tid, how often it was suspended): nothing of the kind on Linux."""
    since_ticks: int = 0
    """Clones born after that, in ticks since boot, are ours."""


def describe_hold(pid: int) -> Hold:
    """Said by the worker before it begins."""
    return Hold(since_ticks=int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S))


def release(pid: int, hold: Hold) -> None:
    """Undo what a dead worker has done to the target. Takes a process of its own: this one must not
    trace, and stays when something goes wrong."""
    from perimortem.capture.linux.clone import find_left_clones

    if hold.since_ticks and find_left_clones(pid, hold.since_ticks):
        reaper = Path(__file__).with_name("reap_clones.py")
        arguments = [sys.executable, "-I", "-S", str(reaper), str(pid), str(hold.since_ticks)]
        try:
            subprocess.run(
                arguments,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
                timeout=_PATIENCE_S,
                check=False,
            )
        except (OSError, subprocess.TimeoutExpired):
            return
