"""What must exist before the command of `run` starts."""

from __future__ import annotations

import importlib
from contextlib import ExitStack
from dataclasses import dataclass, replace

from perimortem import wire
from perimortem.clock import SystemClock
from perimortem.errors import PerimortemError
from perimortem.exits.sources import open_system_log, remember_ends
from perimortem.model.system_log import SystemLog
from perimortem.monitor.base import Base, open_base
from perimortem.monitor.listener import RunListener
from perimortem.monitor.platform import Command
from perimortem.monitor.recorder_watch import open_recorder_events
from perimortem.monitor.settings import Settings
from perimortem.recorder import RecorderEvents, ensure_run_dir
from perimortem.system import descriptors_max

_FEW_DESCRIPTORS = 64
_LATE_MODULES = ("perimortem.report.redact", "perimortem.documents.base")
"""Needed for a report only. At the end there may be no descriptor left to load them."""


def adapt(settings: Settings, listener: RunListener) -> Settings:
    """Without a run directory there is no recorder, and no socket for crashes."""
    try:
        ensure_run_dir(settings.run_dir)
    except PerimortemError as error:
        listener.on_limited(f"without agent and crash handler: {error}")
        why = "there is no run directory"
        return replace(settings, use_agent=False, why_no_agent=why, use_crash_handler=False)
    return settings


@dataclass(frozen=True)
class Prepared:
    """``stack`` closes it."""

    sockets: wire.Listener | None
    """For crashes."""
    command: Command
    base: Base
    system_log: SystemLog
    recorder_events: RecorderEvents | None


def prepare(argv: tuple[str, ...], settings: Settings, stack: ExitStack) -> Prepared:
    """Raises LaunchFailed if there is no such program, OSError if we lack what it takes."""
    if descriptors_max() < _FEW_DESCRIPTORS:
        for name in _LATE_MODULES:
            importlib.import_module(name)
    sockets = wire.open_own_listener(settings.run_dir) if settings.use_crash_handler else None
    if sockets is not None:
        stack.callback(sockets.close)
    address = sockets.address if sockets else None
    command = Command(argv, settings, address, SystemClock().monotonic_ns())
    stack.callback(command.close)
    base = open_base(stack)
    # From now on nothing that a short-lived member leaves is missed.
    system_log = open_system_log()
    recorder_events = open_recorder_events(settings.run_dir)
    remember_ends()
    return Prepared(sockets, command, base, system_log, recorder_events)
