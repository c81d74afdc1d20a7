"""What the threads of a process wait for.

Windows reports it by wait chain traversal (GetThreadWaitChain), which is not used yet: so no finding
is made either way, and ``progress`` judges only if requested by name.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"


def describe_stuck(pid: int) -> str | None:
    """Why nothing outside can wake the process; None if something can, or may."""
    return None


def is_waiting_for_child(pid: int) -> bool:
    """Its main thread waits for a process."""
    return False
