"""Limits of our own process."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.winapi.token import enable_debug_privilege


def raise_own_limits() -> None:
    """A process may have sixteen million handles. But administrator rights must be requested."""
    enable_debug_privilege()


def descriptors_max() -> int:
    """How many handles this process may have."""
    return 1 << 24


def refuse_own_core() -> None:
    """There is no limit on Windows."""
