"""Which source reports which process: a held handle has the exact code, also of a fast-fail; ETW
reports processes that are not held."""

from __future__ import annotations

import atexit
import sys

assert sys.platform == "win32"

from perimortem.exits.watch import ExitWatch
from perimortem.exits.windows.etw import EtwSource
from perimortem.exits.windows.gone import GoneExitWatch
from perimortem.exits.windows.handle import HandleExitWatch
from perimortem.model.process import ProcessRef


def open_exit_watch(process: ProcessRef, *, is_child: bool) -> ExitWatch:
    """Hold ``process``. Raises ProcessGone if it ended before, AccessDenied without the right."""
    return HandleExitWatch(process)


def open_gone_watch(process: ProcessRef) -> ExitWatch:
    """For a process that ended before it could be held: what can still be known."""
    return GoneExitWatch(process)


def remember_ends() -> None:
    """From now on record how processes end that are not held yet."""
    EtwSource.shared()
    atexit.register(EtwSource.close_shared)
