"""`perimortem monitor`: serve programs that attach themselves by libperimortem."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import Protocol

from perimortem import wire
from perimortem.clock import SystemClock
from perimortem.errors import PerimortemError
from perimortem.exits.sources import open_exit_watch, open_system_log
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessRef
from perimortem.monitor.clients import Clients
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.loop import Listener, Monitor, Timer
from perimortem.monitor.platform import EndRequests, open_observers
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.session import Session
from perimortem.monitor.settings import Settings
from perimortem.monitor.sweep import sweep, sweep_partials
from perimortem.monitor.untold import is_alive, list_recorders, read_monitor_pid, tell_untold
from perimortem.monitor.watch import OBSERVED_MAX
from perimortem.proc import (
    collect_host,
    collect_process_info,
    find_container,
    find_process,
    read_stat,
)
from perimortem.recorder import ensure_run_dir
from perimortem.system import raise_own_limits, refuse_own_core
from perimortem.watch.target import TargetWatch
from perimortem.wire.layout import SERVICE_SOCKET_NAME

_FIRST_CLIENT_NS = 30_000_000_000
"""So long one that was started for a program waits for its first word. Arbitrary."""


class ServeListener(Listener, Protocol):
    """What `monitor` tells besides what every watch tells."""

    def on_serve(self, address: str) -> None:
        """Programs may come."""

    def on_untold(self, incident: Incident) -> None:
        """A crash of the time when no monitor lived."""


def serve(
    settings: Settings, listener: ServeListener, keeper: Keeper, *, exit_when_idle: bool
) -> None:
    """Serve until INT or TERM; with ``exit_when_idle`` until the last program has gone.

    Raises :class:`~perimortem.wire.AlreadyServed` when another monitor does, AccessDenied.
    """
    ensure_run_dir(settings.run_dir)
    raise_own_limits()
    refuse_own_core()
    with ExitStack() as stack:
        _Service(settings, listener, keeper, stack).serve(exit_when_idle=exit_when_idle)


class _Service:
    def __init__(
        self, settings: Settings, listener: ServeListener, keeper: Keeper, stack: ExitStack
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._keeper = keeper
        self._clock = SystemClock()
        self._host = collect_host()
        self._sockets = wire.open_listener(settings.run_dir, SERVICE_SOCKET_NAME)
        stack.callback(self._sockets.close)
        self._monitor = Monitor(
            settings, self._clock, self._host, listener, open_system_log(), keeper
        )
        stack.callback(self._monitor.close)
        self._end_requests = EndRequests()
        stack.callback(self._end_requests.close)
        self._clients = Clients(
            self._sockets,
            self._monitor,
            self._find,
            on_leave=self._monitor.forget,
            find_core=self._find_core,
        )
        stack.callback(self._clients.close)
        self._had_client = False
        self._first_client = Timer(None, self._stop_waiting)

    def serve(self, *, exit_when_idle: bool) -> None:
        monitor = self._monitor
        monitor.selector.register(self._end_requests.waitable(), lambda _now_ns: monitor.stop())
        self._take_up()
        self._listener.on_serve(self._sockets.address)
        if exit_when_idle:
            self._first_client.due_ns = self._clock.monotonic_ns() + _FIRST_CLIENT_NS
            monitor.timers.append(self._first_client)
        monitor.run(self._is_idle if exit_when_idle else lambda: False, waits_for_more=True)

    def _take_up(self) -> None:
        """What a monitor before us has left: programs that run on, and crashes that nobody told."""
        sweep(self._settings.run_dir)
        sweep_partials(self._settings.dumps_dir)
        for incident in tell_untold(
            self._settings, self._keeper, self._host, self._clock, tells_own=True
        ):
            self._listener.on_untold(incident)
        for process in list_recorders(self._settings.run_dir):
            monitor_pid = read_monitor_pid(self._settings.run_dir, process)
            is_alone = monitor_pid == 0 or (monitor_pid and read_stat(monitor_pid) is None)
            if is_alone and is_alive(process):
                with suppress(PerimortemError):
                    self._attach(process)

    def _find(self, pid: int, _now_ns: int) -> Session | None:
        known = next((s for s in self._monitor.sessions.values() if s.pid == pid), None)
        if known is not None and known.ended_ns is None:
            return known
        try:
            return self._attach(find_process(pid))
        except PerimortemError:
            return None

    def _find_core(self, pid: int, now_ns: int) -> Session | None:
        """A process that dumps core, unless a monitor of its own has dumped it already."""
        session = self._find(pid, now_ns)
        if session is None:
            return None
        recording = session.recorder.read_recording(now_ns)
        is_told = recording is not None and recording.crash is not None and recording.crash.is_fatal
        monitor_pid = read_monitor_pid(self._settings.run_dir, session.target.ref)
        has_other = monitor_pid not in (None, 0, os.getpid()) and read_stat(monitor_pid or 0)
        if is_told and has_other:
            self._monitor.forget(session)
            return None
        container = find_container(pid)
        if container is not None:
            session.labels["container"] = container
        return session

    def _attach(self, process: ProcessRef) -> Session:
        now_ns = self._clock.monotonic_ns()
        is_observed = len(self._monitor.sessions) < OBSERVED_MAX
        session = Session(
            target=collect_process_info(process),
            exit_watch=open_exit_watch(process, is_child=False),
            recorder=RecorderLink(self._settings.run_dir, process),
            watch=TargetWatch(self._settings.policy, now_ns),
            watched_since_ns=now_ns,
            sources=open_observers(process, (), now_ns, is_observed=is_observed),
        )
        self._had_client = True
        self._monitor.add(session)
        return session

    def _stop_waiting(self, _now_ns: int) -> None:
        self._had_client = True
        self._first_client.due_ns = None

    def _is_idle(self) -> bool:
        is_busy = self._monitor.sessions or self._monitor.is_looking_into_ends
        return self._had_client and not is_busy and not len(self._clients)
