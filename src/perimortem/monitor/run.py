"""`perimortem run`: start a command, watch it and all its descendants, report how it ended."""

from __future__ import annotations

import os
from contextlib import ExitStack

from perimortem.clock import SystemClock
from perimortem.errors import CannotWatch, LaunchFailed
from perimortem.model.process import ProcessRef
from perimortem.monitor.assembly import build_monitor
from perimortem.monitor.command_reporter import CommandReporter, RunResult
from perimortem.monitor.command_target import open_command_target
from perimortem.monitor.conclude import derive_launch_failure
from perimortem.monitor.crash_server import CrashServer
from perimortem.monitor.deadlock_watch import DeadlockWatch
from perimortem.monitor.discovery import Discovery
from perimortem.monitor.incident_store import WrittenStore, add_kept, keep_now
from perimortem.monitor.incident_uid import make_uid
from perimortem.monitor.interrupts import Interrupts
from perimortem.monitor.listener import RunListener
from perimortem.monitor.platform import CommandLink
from perimortem.monitor.prepare import Prepared, adapt, prepare
from perimortem.monitor.settings import Settings, WriterSettings
from perimortem.monitor.tree import ProcessTree
from perimortem.proc import collect_host, find_process
from perimortem.store.place import StorePlace
from perimortem.system import raise_own_limits

_SCAN_INTERVAL_NS = 1_000_000_000


def run_command(
    argv: tuple[str, ...], settings: Settings, listener: RunListener, place: StorePlace
) -> RunResult:
    """Run ``argv`` to its end.

    A command that cannot be started is an incident too (``launch-failed``), with 126 or 127. Without a
    run directory or a store it is watched as far as possible. Raises CannotWatch if nothing was started,
    but could be.
    """
    settings = adapt(settings, listener)
    with ExitStack() as stack:
        try:
            prepared = prepare(argv, settings, stack)
            process = prepared.command.start()
        except LaunchFailed as error:
            incident = derive_launch_failure(
                argv, error, collect_host(), SystemClock().realtime_ns(), make_uid()
            )
            return RunResult(keep_now(place, incident, redact=settings.redact), error.exit_status)
        except (OSError, ValueError) as error:
            raise CannotWatch("the monitor cannot work", why=str(error)) from error
        return _watch(process, argv, prepared, settings, listener, place, stack)


def _watch(
    process: ProcessRef,
    argv: tuple[str, ...],
    prepared: Prepared,
    settings: Settings,
    listener: RunListener,
    place: StorePlace,
    stack: ExitStack,
) -> RunResult:
    sockets, command, base = prepared.sockets, prepared.command, prepared.base

    writer = WriterSettings(
        "run", place, settings, find_process(os.getpid()), recovers=True, reports_own=False
    )
    store = WrittenStore(base, writer, listener)
    stack.callback(store.close)

    def list_helpers() -> set[int]:
        return command.helper_pids | base.helper_pids() | store.pids()

    tree = ProcessTree(base.targets)
    discovery = Discovery(tree, settings, base, list_helpers, command.list_orphans)
    root = open_command_target(process, argv, command, settings, base, tree, bool(sockets))
    tree.add_root(root)
    server = None
    listening = stack.enter_context(ExitStack())
    if sockets is not None:
        server = CrashServer(
            sockets,
            base,
            settings.run_dir,
            list_helpers,
            lambda pid, now_ns: root if pid == root.pid else discovery.find(pid, now_ns),
        )
        listening.callback(server.close)
    reporter = CommandReporter(root, command, settings, base, tree, discovery, store, listener)
    monitor = build_monitor(
        base,
        settings,
        collect_host(),
        prepared.system_log,
        prepared.recorder_events,
        stack,
        store=store,
        listener=listener,
        reporter=reporter,
        family=reporter,
        take_recorder=discovery.take_recorder if settings.follow else lambda *_: None,
        answer_crash=server.answer if server is not None else lambda _target: None,
    )
    interrupts = Interrupts(
        base.timers, base.clock, reporter.list_living, listener, monitor.engine.stop
    )
    link = CommandLink(command, root, settings, base, tree, discovery, interrupts, list_helpers)
    if settings.follow:
        now_ns = base.clock.monotonic_ns()
        base.timers.call_every(_SCAN_INTERVAL_NS, now_ns, lambda _now_ns: discovery.scan_later())
    DeadlockWatch(base, settings.policy, listener.on_quiet).begin()
    raise_own_limits()
    listener.on_start(
        root.process, command.preload, root.sources, settings.policy, follow=settings.follow
    )
    reporter.begin_exit_dump(monitor.dumps)
    monitor.engine.run(reporter.is_done)
    incident = reporter.finish(monitor.engine, monitor.concluder)
    link.finish_output()
    listening.close()  # a process that is left over and crashes is not kept waiting
    monitor.pauses.finish()
    store.finish()
    incident = add_kept(incident, root.kept)
    listener.on_end(root, incident)
    return reporter.conclude(incident)
