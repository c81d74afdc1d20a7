"""Limits that a dump worker sets on itself: reporters must not be reported, nor fill the disk."""

from __future__ import annotations

import contextlib
import ctypes
import resource
import signal
import sys
from collections.abc import Mapping
from pathlib import Path

assert sys.platform == "linux"

_PR_SET_DUMPABLE = 4
_PR_SET_PDEATHSIG = 1


def worker_environment(environment: Mapping[str, str]) -> dict[str, str]:
    """The environment variables that a worker needs."""
    return {"PATH": environment.get("PATH", ""), "LANG": "C.UTF-8"}


def protect_self() -> None:
    """No core, not dumpable, ends with the monitor; and the last choice of the out-of-memory killer."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_PR_SET_DUMPABLE, 0, 0, 0, 0)
    libc.prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
    _limit_core()
    with contextlib.suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text("-1000")
    # The terminal's Ctrl-C goes to the whole group; a dump in progress is finished first.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    signal.signal(signal.SIGTERM, _end)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGTERM})  # the monitor blocks it


def _limit_core() -> None:
    """1 marks a helper, whose core is not even piped. A limit of 0 may not be raised."""
    _, hard = resource.getrlimit(resource.RLIMIT_CORE)
    least = 1 if hard == resource.RLIM_INFINITY else min(1, hard)
    resource.setrlimit(resource.RLIMIT_CORE, (least, least))


def limit_output(size_bytes: int) -> None:
    """Limit the size of our files."""
    _, most = resource.getrlimit(resource.RLIMIT_FSIZE)
    if most != resource.RLIM_INFINITY:
        size_bytes = min(size_bytes, most)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size_bytes, size_bytes))


def _end(*_: object) -> None:
    """Exit through the finally blocks: they let the target run on."""
    raise SystemExit(1)
