"""`perimortem monitor`: serve programs that attach themselves with libperimortem."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from typing import Protocol

from perimortem import wire
from perimortem.errors import PerimortemError
from perimortem.exits.sources import open_exit_watch, open_system_log
from perimortem.hangs.target import TargetWatch
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessRef
from perimortem.monitor.assembly import build_monitor
from perimortem.monitor.base import Base, open_base
from perimortem.monitor.crash_server import CrashServer
from perimortem.monitor.family import Alone
from perimortem.monitor.incident_store import DatabaseStore
from perimortem.monitor.lifecycle import Event
from perimortem.monitor.listener import Listener
from perimortem.monitor.platform import EndRequests, open_observers
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.recorder_watch import open_recorder_events
from perimortem.monitor.settings import Settings
from perimortem.monitor.sweep import sweep, sweep_partials
from perimortem.monitor.target import Target
from perimortem.monitor.unreported import (
    is_alive,
    list_recorders,
    read_monitor_pid,
    report_unreported,
)
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
from perimortem.wire.layout import SERVICE_SOCKET_NAME

_FIRST_CLIENT_NS = 30_000_000_000
"""How long a monitor that a program started waits for the first message. Arbitrary."""


class ServeListener(Listener, Protocol):
    """Notifications of `monitor` besides those of every watch."""

    def on_serve(self, address: str) -> None:
        """Programs may connect."""

    def on_unreported(self, incident: Incident) -> None:
        """A crash that happened while no monitor was running."""


def serve(
    settings: Settings, listener: ServeListener, store: DatabaseStore, *, exit_when_idle: bool
) -> None:
    """Serve until INT or TERM; with ``exit_when_idle`` until the last program has disconnected.

    Raises :class:`~perimortem.wire.AlreadyServed` if another monitor already serves, AccessDenied.
    """
    ensure_run_dir(settings.run_dir)
    raise_own_limits()
    refuse_own_core()
    with ExitStack() as stack:
        sockets = wire.open_listener(settings.run_dir, SERVICE_SOCKET_NAME)
        stack.callback(sockets.close)
        base = open_base(stack)
        end_requests = EndRequests()
        stack.callback(end_requests.close)
        programs = _Programs(base, settings)
        server = CrashServer(
            sockets,
            base.selector,
            base.targets,
            settings.run_dir,
            base.pool.pids,
            programs.find,
            programs.find_core,
            lambda target: base.targets.post(target, Event.LEFT),
        )
        stack.callback(server.close)
        monitor = build_monitor(
            base,
            settings,
            collect_host(),
            open_system_log(),
            open_recorder_events(settings.run_dir),
            stack,
            store=store,
            listener=listener,
            reporter=_Reporter(listener, store),
            family=Alone(),
            answer_crash=server.answer,
        )
        base.selector.register(end_requests.waitable(), lambda _now_ns: monitor.engine.stop())
        sweep(settings.run_dir)
        sweep_partials(settings.dumps_dir)
        for incident in report_unreported(settings, store, collect_host(), reports_own=True):
            listener.on_unreported(incident)
        programs.take_over()
        listener.on_serve(sockets.address)
        if exit_when_idle:
            due_ns = base.clock.monotonic_ns() + _FIRST_CLIENT_NS
            base.timers.call_later(due_ns, programs.stop_waiting)
        monitor.engine.run(
            lambda: exit_when_idle and programs.are_gone and not len(server), waits_for_more=True
        )
        monitor.engine.release_all()


class _Programs:
    """The programs that have connected, as targets."""

    def __init__(self, base: Base, settings: Settings) -> None:
        self._base = base
        self._settings = settings
        self._had_client = False

    @property
    def are_gone(self) -> bool:
        """Programs connected and all have gone; or none connected in time."""
        return self._had_client and not len(self._base.targets)

    def stop_waiting(self, _now_ns: int) -> None:
        """For the first one."""
        self._had_client = True

    def take_over(self) -> None:
        """Targets of a previous monitor that are still running."""
        for process in list_recorders(self._settings.run_dir):
            monitor_pid = read_monitor_pid(self._settings.run_dir, process)
            is_alone = monitor_pid == 0 or (monitor_pid and read_stat(monitor_pid) is None)
            if is_alone and is_alive(process):
                with suppress(PerimortemError):
                    self._attach(process)

    def find(self, pid: int, _now_ns: int) -> Target | None:
        known = self._base.targets.find_pid(pid)
        if known is not None:
            return known
        try:
            return self._attach(find_process(pid))
        except PerimortemError:
            return None

    def find_core(self, pid: int, now_ns: int) -> Target | None:
        """A process that dumps core, unless a monitor of its own has already dumped it."""
        target = self.find(pid, now_ns)
        if target is None:
            return None
        recording = target.read_recording(now_ns)
        is_reported = (
            recording is not None and recording.crash is not None and recording.crash.is_fatal
        )
        monitor_pid = read_monitor_pid(self._settings.run_dir, target.ref)
        has_other = monitor_pid not in (None, 0, os.getpid()) and read_stat(monitor_pid or 0)
        if is_reported and has_other:
            self._base.targets.post(target, Event.LEFT)
            return None
        container = find_container(pid)
        if container is not None:
            target.label("container", container)
        return target

    def _attach(self, process: ProcessRef) -> Target:
        now_ns = self._base.clock.monotonic_ns()
        is_observed = len(self._base.targets) < OBSERVED_MAX
        target = Target(
            collect_process_info(process),
            open_exit_watch(process, is_child=False),
            RecorderLink(self._settings.run_dir, process),
            TargetWatch(self._settings.policy, now_ns),
            now_ns,
            sources=open_observers(process, (), now_ns, is_observed=is_observed),
        )
        self._had_client = True
        self._base.targets.add(target)
        return target


class _Reporter:
    """Each end is recorded and reported when it happens."""

    def __init__(self, listener: ServeListener, store: DatabaseStore) -> None:
        self._listener = listener
        self._store = store

    def on_exit(self, target: Target, now_ns: int) -> None:
        return

    def report_end(self, target: Target, incident: Incident) -> None:
        self._listener.on_end(target, self._store.record(target, incident))

    def report_release(self, target: Target, incident: Incident) -> None:
        return
