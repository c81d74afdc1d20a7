"""Which source reports which process."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.exits.linux.gone import GoneExitWatch
from perimortem.exits.linux.pidfd import ChildExitWatch, ForeignExitWatch
from perimortem.exits.linux.proc_connector import ProcConnector
from perimortem.exits.watch import ExitWatch
from perimortem.model.process import ProcessRef


def open_exit_watch(process: ProcessRef, *, is_child: bool) -> ExitWatch:
    """Hold ``process``. Raises ProcessGone if it ended before, AccessDenied without the right."""
    return ChildExitWatch(process) if is_child else ForeignExitWatch(process)


def open_gone_watch(process: ProcessRef) -> ExitWatch:
    """For a process that ended before it could be held: what can still be known."""
    return GoneExitWatch(process)


def remember_ends() -> None:
    """From now on record how processes end that are not held yet."""
    ProcConnector.shared()
