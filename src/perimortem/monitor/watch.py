"""`perimortem watch`: watch processes that already run."""

from __future__ import annotations

import os
from contextlib import ExitStack
from dataclasses import dataclass

from perimortem.errors import PerimortemError
from perimortem.exits.sources import open_system_log, remember_ends
from perimortem.monitor.assembly import build_monitor
from perimortem.monitor.attach import Attacher
from perimortem.monitor.base import open_base
from perimortem.monitor.deadlock_watch import DeadlockWatch
from perimortem.monitor.discovery import Discovery
from perimortem.monitor.family import Alone
from perimortem.monitor.find import Wanted
from perimortem.monitor.incident_store import WrittenStore
from perimortem.monitor.listener import WatchListener
from perimortem.monitor.platform import EndRequests
from perimortem.monitor.recorder_watch import open_recorder_events
from perimortem.monitor.settings import Settings, WriterSettings
from perimortem.monitor.tree import ProcessTree
from perimortem.monitor.watch_reporter import WatchReporter
from perimortem.proc import collect_host, find_process
from perimortem.store.place import StorePlace
from perimortem.system import raise_own_limits

_SCAN_INTERVAL_NS = 1_000_000_000


@dataclass(frozen=True)
class WatchResult:
    """How many targets ended, and how many were left."""

    ended: int
    left: int


def watch_processes(
    pids: list[int],
    wanted: Wanted,
    settings: Settings,
    listener: WatchListener,
    place: StorePlace,
) -> WatchResult:
    """Watch ``pids`` until all have ended, or until INT or TERM ends the watch.

    With ``settings.follow`` also their descendants, and later processes that match ``wanted``.
    Raises ProcessGone or AccessDenied for a pid that cannot be held; then nothing is watched.
    """
    raise_own_limits()  # each target takes two
    with ExitStack() as stack:
        base = open_base(stack)
        end_requests = EndRequests()
        stack.callback(end_requests.close)
        tree = ProcessTree(base.targets)
        remember_ends()
        writer = WriterSettings(
            "watch", place, settings, find_process(os.getpid()), recovers=False, reports_own=False
        )
        store = WrittenStore(base, writer)
        stack.callback(store.close)
        reporter = WatchReporter(tree, listener)
        discovery = Discovery(tree, settings, base, lambda: base.helper_pids() | store.pids())
        monitor = build_monitor(
            base,
            settings,
            collect_host(),
            open_system_log(),
            open_recorder_events(settings.run_dir),
            stack,
            store=store,
            listener=listener,
            reporter=reporter,
            family=tree if settings.follow else Alone(),
        )
        attacher = Attacher(base, tree, discovery, wanted, settings, listener)
        attacher.attach_all(pids)

        def stop(_now_ns: int) -> None:
            base.selector.unregister(end_requests.waitable())  # it stays ready
            monitor.engine.stop()

        base.selector.register(end_requests.waitable(), stop, comes_first=True)
        if settings.follow:
            now_ns = base.clock.monotonic_ns()
            base.timers.call_every(_SCAN_INTERVAL_NS, now_ns, attacher.scan)
        DeadlockWatch(base, settings.policy, listener.on_quiet).begin()
        monitor.engine.run(waits_for_more=settings.follow and wanted.may_come)
        monitor.engine.release_all()
        monitor.pauses.finish()
        store.finish()
        return WatchResult(reporter.ended, reporter.left)


def refuse_self(pids: list[int], own_pid: int) -> None:
    """The monitor is never its own target."""
    if own_pid in pids:
        raise PerimortemError("perimortem does not watch itself", remedy="name another process")
