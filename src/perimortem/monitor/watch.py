"""`perimortem watch`: watch processes that run already."""

from __future__ import annotations

from contextlib import ExitStack, suppress
from dataclasses import dataclass
from typing import Protocol

from perimortem.beats.source import BeatSource
from perimortem.clock import SystemClock
from perimortem.errors import PerimortemError
from perimortem.exits.sources import open_exit_watch, open_system_log
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.monitor.find import Wanted
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.loop import Listener, Monitor
from perimortem.monitor.platform import EndRequests, open_observers
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.session import Session
from perimortem.monitor.settings import Settings
from perimortem.monitor.tree import ProcessTree
from perimortem.proc import collect_host, collect_process_info, find_process
from perimortem.system import raise_own_limits
from perimortem.watch.target import TargetWatch

OBSERVED_MAX = 100
"""More targets than that are watched by their ends and their own heartbeats only."""


class WatchListener(Listener, Protocol):
    """What `watch` tells besides what every watch tells."""

    def on_attach(self, target: ProcessInfo, sources: list[BeatSource], has_recorder: bool) -> None:
        """A target is held and watched."""

    def on_watch_end(self, session: Session, incident: Incident) -> None:
        """The watch ends before the target does."""


@dataclass(frozen=True)
class WatchResult:
    """How many targets ended, and how many were left."""

    ended: int
    left: int


def watch_processes(
    pids: list[int], wanted: Wanted, settings: Settings, listener: WatchListener, keeper: Keeper
) -> WatchResult:
    """Watch ``pids`` until all have ended, or until INT or TERM ends the watch.

    With ``settings.follow`` also what comes from them, and what else comes that matches ``wanted``.
    Raises ProcessGone or AccessDenied for a pid that cannot be held; then nothing is watched.
    """
    raise_own_limits()  # each target takes two
    with ExitStack() as stack:
        return _Watch(wanted, settings, listener, keeper, stack).watch(pids)


class _Watch:
    def __init__(
        self,
        wanted: Wanted,
        settings: Settings,
        listener: WatchListener,
        keeper: Keeper,
        stack: ExitStack,
    ) -> None:
        self._wanted = wanted
        self._settings = settings
        self._listener = listener
        self._clock = SystemClock()
        self._commands: dict[ProcessRef, Session] = {}
        self._monitor = Monitor(
            settings, self._clock, collect_host(), listener, open_system_log(), keeper
        )
        stack.callback(self._monitor.close)
        self._end_requests = EndRequests()
        stack.callback(self._end_requests.close)
        self._tree = ProcessTree(settings, self._monitor.add, self._living_commands)
        self._ended = 0

    def watch(self, pids: list[int]) -> WatchResult:
        """Until the end of all, or of the watch."""
        monitor = self._monitor
        self._attach_all(pids)
        monitor.selector.register(self._end_requests.waitable(), lambda _now_ns: monitor.stop())
        monitor.on_ended = self._take_end
        waits = self._settings.follow and self._wanted.may_come
        if self._settings.follow:
            monitor.find_culprit = self._tree.culprit
            monitor.each_second(self._look_around)
        monitor.run(waits_for_more=waits)
        left = [s for s in monitor.sessions.values() if s.is_command or s.open_hang]
        for session in left:
            self._listener.on_watch_end(session, monitor.conclude_open(session))
        return WatchResult(self._ended, len(left))

    def _attach_all(self, pids: list[int]) -> None:
        """Of a name or unit all that can be had; of pids, every one."""
        is_small = len(pids) <= OBSERVED_MAX
        refusal: PerimortemError | None = None
        for pid in pids:
            try:
                self._attach(find_process(pid), is_observed=is_small)
            except PerimortemError as error:
                if not self._wanted.may_come:
                    raise
                refusal = error
        if refusal is not None and not self._commands:
            raise refusal

    def _attach(self, process: ProcessRef, *, is_observed: bool) -> None:
        now_ns = self._clock.monotonic_ns()
        wanted = self._settings.beat_from
        sources = open_observers(process, wanted, now_ns, is_observed=is_observed)
        session = Session(
            target=collect_process_info(process),
            exit_watch=open_exit_watch(process, is_child=False),
            recorder=RecorderLink(self._settings.run_dir, process),
            watch=TargetWatch(self._settings.policy, now_ns),
            watched_since_ns=now_ns,
            sources=sources,
        )
        self._commands[process] = session
        self._monitor.add(session)
        self._listener.on_attach(session.target, sources, session.recorder.open())

    def _look_around(self, now_ns: int) -> None:
        """New processes that match, and children of those that are watched."""
        for pid in self._wanted.find() if self._wanted.may_come else ():
            with suppress(PerimortemError):
                process = find_process(pid)
                if process not in self._commands and pid not in self._tree.living:
                    self._attach(process, is_observed=len(self._commands) < OBSERVED_MAX)
        self._tree.scan(now_ns)

    def _living_commands(self) -> list[Session]:
        return [session for session in self._commands.values() if session.end is None]

    def _take_end(self, session: Session, incident: Incident) -> None:
        if session.is_command:
            self._ended += 1
            del self._commands[session.target.ref]
        else:
            self._tree.note_end(session, incident)
            if session.number is None and not self._tree.deserves_incident(session, incident):
                return
        session.incident = self._monitor.keep(session, incident)
        self._listener.on_end(session, session.incident)


def refuse_self(pids: list[int], own_pid: int) -> None:
    """The monitor is never its own target."""
    if own_pid in pids:
        raise PerimortemError("perimortem does not watch itself", remedy="name another process")
