"""`perimortem run`: start a command, watch it and all its descendants, report how it ended."""

from __future__ import annotations

from contextlib import ExitStack

from perimortem import wire
from perimortem.clock import SystemClock
from perimortem.errors import LaunchFailed
from perimortem.exits.sources import open_system_log, remember_ends
from perimortem.monitor.assembly import build_monitor
from perimortem.monitor.base import open_base
from perimortem.monitor.command_reporter import CommandReporter, RunResult
from perimortem.monitor.command_target import open_command_target
from perimortem.monitor.conclude import derive_launch_failure
from perimortem.monitor.crash_server import CrashServer
from perimortem.monitor.discovery import Discovery
from perimortem.monitor.incident_store import DatabaseStore
from perimortem.monitor.interrupts import Interrupts
from perimortem.monitor.listener import RunListener
from perimortem.monitor.platform import Command, CommandLink
from perimortem.monitor.recorder_watch import open_recorder_events
from perimortem.monitor.recover import recover
from perimortem.monitor.settings import Settings
from perimortem.monitor.tree import ProcessTree
from perimortem.proc import collect_host
from perimortem.recorder import ensure_run_dir
from perimortem.system import raise_own_limits

_SCAN_INTERVAL_NS = 1_000_000_000


def run_command(
    argv: tuple[str, ...], settings: Settings, listener: RunListener, store: DatabaseStore
) -> RunResult:
    """Run ``argv`` to its end.

    A command that cannot be started is an incident too (``launch-failed``), with 126 or 127.
    Raises PerimortemError when the monitor itself cannot work; then nothing was started.
    """
    ensure_run_dir(settings.run_dir)
    recover(settings, store, listener.on_unreported)
    with ExitStack() as stack:
        try:
            return _watch_command(argv, settings, listener, store, stack)
        except LaunchFailed as error:
            incident = derive_launch_failure(
                argv, error, collect_host(), SystemClock().realtime_ns()
            )
            return RunResult(store.record_launch_failure(incident), error.exit_status)


def _watch_command(
    argv: tuple[str, ...],
    settings: Settings,
    listener: RunListener,
    store: DatabaseStore,
    stack: ExitStack,
) -> RunResult:
    # What must exist before the command starts: signal relay, streams, the crash socket.
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

    def list_helpers() -> set[int]:
        return command.helper_pids | base.pool.pids()

    tree = ProcessTree(base.targets)
    discovery = Discovery(tree, settings, list_helpers, command.list_orphans)
    process = command.start()
    root = open_command_target(process, argv, command, settings, base, tree, bool(sockets))
    tree.add_root(root)
    server = None
    if sockets is not None:
        server = CrashServer(
            sockets,
            base.selector,
            base.targets,
            settings.run_dir,
            list_helpers,
            lambda pid, now_ns: root if pid == root.pid else discovery.find(pid, now_ns),
        )
        stack.callback(server.close)
    reporter = CommandReporter(root, command, settings, base, tree, discovery, store, listener)
    monitor = build_monitor(
        base,
        settings,
        collect_host(),
        system_log,
        recorder_events,
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
        base.timers.call_every(_SCAN_INTERVAL_NS, base.clock.monotonic_ns(), discovery.scan)
    raise_own_limits()
    listener.on_start(
        root.process, command.preload, root.sources, settings.policy, follow=settings.follow
    )
    reporter.begin_exit_dump(monitor.dumps)
    monitor.engine.run(reporter.is_done)
    incident = reporter.finish(monitor.engine, monitor.concluder)
    link.finish_output()
    listener.on_end(root, incident)
    return reporter.conclude(incident)
