"""`perimortem watch`: watch processes that already run."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from perimortem.beats.source import BeatSource
from perimortem.errors import PerimortemError
from perimortem.exits.sources import open_exit_watch, open_system_log, remember_ends
from perimortem.hangs.target import TargetWatch
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.model.verdict import Verdict
from perimortem.monitor.assembly import build_monitor
from perimortem.monitor.base import Base, open_base
from perimortem.monitor.discovery import Discovery
from perimortem.monitor.family import Alone
from perimortem.monitor.find import Wanted
from perimortem.monitor.incident_store import IncidentStore
from perimortem.monitor.listener import Listener
from perimortem.monitor.platform import EndRequests, open_observers
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.recorder_watch import open_recorder_events
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.tree import ProcessTree
from perimortem.proc import collect_host, collect_process_info, find_process
from perimortem.system import raise_own_limits

OBSERVED_MAX = 100
"""Targets beyond this number are watched by their ends and their own heartbeats only."""
_LOOK_INTERVAL_NS = 1_000_000_000


_CRASHES = (Verdict.CRASH, Verdict.SILENT_CRASH)
_WHY_NO_DUMP = (
    "no dump: from outside a crash is seen only once the process is gone; to get one, start it with "
    "`perimortem run`, have it load libperimortem, or let the system collect crashes (perimortem "
    "system install)"
)


class WatchListener(Listener, Protocol):
    """Notifications of `watch` besides those of every watch."""

    def on_attach(
        self, process: ProcessInfo, sources: tuple[BeatSource, ...], has_recorder: bool
    ) -> None:
        """A target is held and watched."""

    def on_watch_end(self, target: Target, incident: Incident) -> None:
        """The watch ends before the target does."""


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
    store: IncidentStore,
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
        reporter = _Reporter(tree, listener, store)
        discovery = Discovery(tree, settings, base.pool.pids)
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
        attaching = _Attaching(base, tree, discovery, wanted, settings, listener)
        attaching.attach_all(pids)
        base.selector.register(end_requests.waitable(), lambda _now_ns: monitor.engine.stop())
        if settings.follow:
            now_ns = base.clock.monotonic_ns()
            base.timers.call_every(_LOOK_INTERVAL_NS, now_ns, attaching.look_around)
        monitor.engine.run(waits_for_more=settings.follow and wanted.may_come)
        monitor.engine.release_all()
        return WatchResult(reporter.ended, reporter.left)


class _Attaching:
    """Puts processes under watch."""

    def __init__(
        self,
        base: Base,
        tree: ProcessTree,
        discovery: Discovery,
        wanted: Wanted,
        settings: Settings,
        listener: WatchListener,
    ) -> None:
        self._base = base
        self._tree = tree
        self._discovery = discovery
        self._wanted = wanted
        self._settings = settings
        self._listener = listener

    def attach_all(self, pids: list[int]) -> None:
        """For names and units, all that can be held; for pids, every one."""
        is_small = len(pids) <= OBSERVED_MAX
        refusal: PerimortemError | None = None
        for pid in pids:
            try:
                self._attach(find_process(pid), is_observed=is_small)
            except PerimortemError as error:
                if not self._wanted.may_come:
                    raise
                refusal = error
        if refusal is not None and not self._tree.roots:
            raise refusal

    def look_around(self, now_ns: int) -> None:
        """New processes that match, and children of watched ones."""
        for pid in self._wanted.find() if self._wanted.may_come else ():
            with suppress(PerimortemError):
                process = find_process(pid)
                if process not in self._tree.roots and pid not in self._tree.living:
                    self._attach(process, is_observed=len(self._tree.roots) < OBSERVED_MAX)
        self._discovery.scan(now_ns)

    def _attach(self, process: ProcessRef, *, is_observed: bool) -> None:
        now_ns = self._base.clock.monotonic_ns()
        wanted = self._settings.beat_from
        target = Target(
            collect_process_info(process),
            open_exit_watch(process, is_child=False),
            RecorderLink(self._settings.run_dir, process),
            TargetWatch(self._settings.policy, now_ns),
            now_ns,
            sources=open_observers(process, wanted, now_ns, is_observed=is_observed),
        )
        self._tree.add_root(target)
        self._listener.on_attach(target.process, target.sources, target.recorder.open())


class _Reporter:
    """Each end is recorded and reported when it happens."""

    def __init__(self, tree: ProcessTree, listener: WatchListener, store: IncidentStore) -> None:
        self._tree = tree
        self._listener = listener
        self._store = store
        self.ended = 0
        self.left = 0

    def on_exit(self, target: Target, now_ns: int) -> None:
        return

    def report_end(self, target: Target, incident: Incident) -> None:
        if incident.verdict in _CRASHES and target.crash is None and not incident.dumps:
            incident = replace(incident, soft_errors=(*incident.soft_errors, _WHY_NO_DUMP))
        if target.is_command:
            self.ended += 1
            self._tree.remove_root(target)
        else:
            self._tree.note_end(target, incident)
            if target.number is None and not self._tree.deserves_incident(target, incident):
                return
        self._listener.on_end(target, self._store.record(target, incident))

    def report_release(self, target: Target, incident: Incident) -> None:
        if target.is_command or target.open_hang is not None:
            self.left += 1
            self._listener.on_watch_end(target, incident)


def refuse_self(pids: list[int], own_pid: int) -> None:
    """The monitor is never its own target."""
    if own_pid in pids:
        raise PerimortemError("perimortem does not watch itself", remedy="name another process")
