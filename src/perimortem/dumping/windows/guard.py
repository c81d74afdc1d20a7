"""Limits that a dump worker sets on itself: reporters must not be reported, nor fill the disk."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.token import enable_debug_privilege

_SEM_FAILCRITICALERRORS, _SEM_NOGPFAULTERRORBOX = 0x1, 0x2
_NEEDED = ("PATH", "SYSTEMROOT", "TEMP", "TMP", "LOCALAPPDATA", "PYTHONHOME")

size_limit_bytes = 1 << 62
"""Size limit of our files: a dump that is estimated to exceed it is not begun."""


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that a worker needs."""
    return {name: environment[name] for name in _NEEDED if name in environment}


def protect_self() -> None:
    """No box, no report if we crash; Ctrl-C reaches all of a console, and a dump is finished first."""
    kernel32.SetErrorMode(_SEM_FAILCRITICALERRORS | _SEM_NOGPFAULTERRORBOX)
    for number in (signal.SIGINT, signal.SIGBREAK):
        signal.signal(number, signal.SIG_IGN)
    enable_debug_privilege()


def limit_output(size_bytes: int) -> None:
    """Limit the size of our files."""
    global size_limit_bytes
    size_limit_bytes = size_bytes
