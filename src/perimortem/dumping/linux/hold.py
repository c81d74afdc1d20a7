"""What a killed worker leaves behind in a target: at most a dead clone that must be reaped.

The kernel releases frozen threads, an injected call recovers by itself, a living clone ends
with its tracer. Only reaping the clone is then left to do.
"""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

assert sys.platform == "linux"

from perimortem.dumping.protocol import Hold

_TICKS_PER_S = 100  # USER_HZ, in which /proc counts
_PATIENCE_S = 5.0


def describe_hold(pid: int) -> Hold:
    """Sent by the worker before it begins."""
    return Hold(since_ticks=int(time.clock_gettime(time.CLOCK_BOOTTIME) * _TICKS_PER_S))


def release(pid: int, hold: Hold) -> None:
    """Undo what a dead worker has done to the target. Runs in a separate process: this one must not
    trace, and must survive a failure."""
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
