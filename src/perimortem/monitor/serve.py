"""`perimortem monitor`: serve programs that attach themselves with libperimortem."""

from __future__ import annotations

import os
from contextlib import ExitStack

from perimortem import wire
from perimortem.exits.sources import open_system_log
from perimortem.model.incident import Incident
from perimortem.monitor.assembly import build_monitor
from perimortem.monitor.base import open_base
from perimortem.monitor.client_programs import ClientPrograms
from perimortem.monitor.crash_server import CrashServer
from perimortem.monitor.family import Alone
from perimortem.monitor.incident_store import WrittenStore
from perimortem.monitor.lifecycle import Event
from perimortem.monitor.listener import ServeListener
from perimortem.monitor.platform import EndRequests
from perimortem.monitor.recorder_watch import open_recorder_events
from perimortem.monitor.settings import Settings, WriterSettings
from perimortem.monitor.target import Target
from perimortem.proc import collect_host, find_process
from perimortem.recorder import ensure_run_dir
from perimortem.store.place import StorePlace
from perimortem.system import raise_own_limits, refuse_own_core
from perimortem.wire.layout import SERVICE_SOCKET_NAME

_FIRST_CLIENT_NS = 30_000_000_000
"""How long a monitor that a program started waits for the first message. Arbitrary."""


def serve(
    settings: Settings, listener: ServeListener, place: StorePlace, *, exit_when_idle: bool
) -> None:
    """Serve until INT or TERM; with ``exit_when_idle`` until the last program has disconnected.

    Raises :class:`~perimortem.wire.AlreadyServed` if another monitor already serves, AccessDenied.
    """
    ensure_run_dir(settings.run_dir)
    raise_own_limits()
    refuse_own_core()
    with ExitStack() as stack:
        sockets = wire.open_listener(settings.run_dir, SERVICE_SOCKET_NAME)
        listening = stack.enter_context(ExitStack())
        listening.callback(sockets.close)
        base = open_base(stack)
        end_requests = EndRequests()
        stack.callback(end_requests.close)
        writer = WriterSettings(
            "monitor", place, settings, find_process(os.getpid()), recovers=True, reports_own=True
        )
        store = WrittenStore(base, writer, listener)
        stack.callback(store.close)
        programs = ClientPrograms(base, settings)
        server = CrashServer(
            sockets,
            base,
            settings.run_dir,
            lambda: base.helper_pids() | store.pids(),
            programs.find,
            programs.find_core,
            lambda target: base.targets.post(target, Event.LEFT),
        )
        listening.callback(server.close)
        monitor = build_monitor(
            base,
            settings,
            collect_host(),
            open_system_log(),
            open_recorder_events(settings.run_dir),
            stack,
            store=store,
            listener=listener,
            reporter=_Reporter(listener),
            family=Alone(),
            answer_crash=server.answer,
        )

        def stop(_now_ns: int) -> None:
            base.selector.unregister(end_requests.waitable())  # it stays ready
            monitor.engine.stop()

        base.selector.register(end_requests.waitable(), stop, comes_first=True)
        programs.take_over()
        listener.on_serve(sockets.address)
        if exit_when_idle:
            due_ns = base.clock.monotonic_ns() + _FIRST_CLIENT_NS
            base.timers.call_later(due_ns, programs.stop_waiting)
        monitor.engine.run(
            lambda: exit_when_idle and programs.are_gone and not len(server), waits_for_more=True
        )
        monitor.engine.release_all()
        listening.close()  # the next program starts another monitor
        monitor.pauses.finish()
        store.finish()


class _Reporter:
    """Each end is recorded and reported when it happens."""

    def __init__(self, listener: ServeListener) -> None:
        self._listener = listener

    def on_exit(self, target: Target, now_ns: int) -> None:
        return

    def complete_end(self, target: Target, incident: Incident) -> tuple[Incident, bool]:
        return incident, True

    def report_end(self, target: Target, incident: Incident) -> None:
        self._listener.on_end(target, incident)

    def report_release(self, target: Target, incident: Incident) -> None:
        return
