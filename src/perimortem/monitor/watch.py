"""`perimortem watch`: watch processes that run already."""

from __future__ import annotations

import resource
import selectors
import sys
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

assert sys.platform == "linux"

from perimortem.clock import SystemClock
from perimortem.errors import PerimortemError
from perimortem.exits.watch import open_exit_watch
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessRef, Target
from perimortem.monitor.collect import collect_host, collect_target, find_process
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.kernel_words import open_kernel_words
from perimortem.monitor.loop import Listener, Monitor
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.session import Session
from perimortem.monitor.settings import Settings
from perimortem.monitor.signal_relay import SignalRelay
from perimortem.watch.target import TargetWatch


class WatchListener(Listener, Protocol):
    """What `watch` tells besides what every watch tells."""

    def on_attach(self, target: Target, has_recorder: bool) -> None:
        """A target is held and watched."""

    def on_watch_end(self, session: Session, incident: Incident) -> None:
        """The watch ends before the target does."""


@dataclass(frozen=True)
class WatchResult:
    """How many targets ended, and how many were left."""

    ended: int
    left: int


def watch_processes(
    pids: list[int], settings: Settings, listener: WatchListener, keeper: Keeper
) -> WatchResult:
    """Watch ``pids`` until all have ended, or until INT or TERM ends the watch.

    Raises ProcessGone or AccessDenied for a pid that cannot be held; then nothing is watched.
    """
    _raise_descriptor_limit()
    clock = SystemClock()
    monitor = Monitor(settings, clock, collect_host(), listener, open_kernel_words(), keeper)
    relay = SignalRelay()
    ended = 0
    try:
        for process in [find_process(pid) for pid in pids]:
            session = _attach(process, settings, clock.monotonic_ns())
            monitor.add(session)
            has_recorder = session.recorder.open()
            listener.on_attach(session.target, has_recorder)
        count = len(monitor.sessions)
        monitor.selector.register(
            relay.fileno(), selectors.EVENT_READ, _stop_on_signal(relay, monitor)
        )
        monitor.run()
        left = list(monitor.sessions.values())
        ended = count - len(left)
        for session in left:
            listener.on_watch_end(session, monitor.conclude_open(session))
    finally:
        relay.close()
        monitor.close()
    return WatchResult(ended, len(left))


def _raise_descriptor_limit() -> None:
    """Each target takes two descriptors. Only here: what `run` starts inherits our limits."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _attach(process: ProcessRef, settings: Settings, now_ns: int) -> Session:
    exit_watch = open_exit_watch(process, is_child=False)
    return Session(
        target=collect_target(process),
        exit_watch=exit_watch,
        recorder=RecorderLink(settings.run_dir, process),
        watch=TargetWatch(settings.policy, now_ns),
        watched_since_ns=now_ns,
    )


def _stop_on_signal(relay: SignalRelay, monitor: Monitor) -> Callable[[int], None]:
    def stop(_now_ns: int) -> None:
        for _ in relay.receive():
            monitor.stop()

    return stop


def refuse_self(pids: list[int], own_pid: int) -> None:
    """The monitor is never its own target."""
    if own_pid in pids:
        raise PerimortemError("perimortem does not watch itself", remedy="name another process")
