"""What the threads of a process wait for.

Windows tells it by wait chain traversal (GetThreadWaitChain), which is not asked yet: so nothing is
said, neither good nor bad, and ``progress`` judges only where it is asked for by name.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"


def describe_stuck(pid: int) -> str | None:
    """Why nothing outside can wake the process, in words; None when something can, or may."""
    return None


def is_waiting_for_child(pid: int) -> bool:
    """Its main thread waits for a process."""
    return False
