"""End when our parent does (PR_SET_PDEATHSIG, prctl(2))."""

from __future__ import annotations

import ctypes
import signal
import sys

assert sys.platform == "linux"

_PR_SET_PDEATHSIG = 1


def die_with_parent() -> None:
    """By SIGKILL. A change of user or rights clears it: ask again afterwards."""
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
