"""`perimortem run`: start a command, watch it and all that comes from it, tell how it ended."""

from __future__ import annotations

import os
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Protocol

from perimortem import wire
from perimortem.analyze.first_death import VIOLENT
from perimortem.beats.source import BeatSource
from perimortem.clock import SystemClock
from perimortem.errors import LaunchFailed
from perimortem.exits.sources import open_exit_watch, open_system_log
from perimortem.model.evidence import Confidence
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.model.verdict import Verdict
from perimortem.monitor.clients import Clients
from perimortem.monitor.exit_catcher import ExitCatcher
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.loop import Listener, Monitor, Timer
from perimortem.monitor.platform import Command
from perimortem.monitor.preload import Preload
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.session import Session, launch_failure
from perimortem.monitor.settings import Settings
from perimortem.monitor.sweep import sweep, sweep_partials
from perimortem.monitor.tree import ProcessTree, describe_process
from perimortem.monitor.untold import tell_untold
from perimortem.proc import collect_host, collect_process_info
from perimortem.recorder import ensure_run_dir
from perimortem.system import raise_own_limits
from perimortem.text import printable
from perimortem.watch.target import TargetWatch

_SETTLE_NS = 200_000_000
"""After a bad end of the command: time for those to end that end of it. Arbitrary."""
ENDED_BY_POLICY_STATUS = 124
"""As timeout(1) reports that it had to end a command."""


class RunListener(Listener, Protocol):
    """What `run` tells besides what every watch tells."""

    def on_start(
        self, target: ProcessInfo, preload: Preload, sources: list[BeatSource], *, follow: bool
    ) -> None:
        """The target runs."""

    def on_untold(self, incident: Incident) -> None:
        """A crash below a monitor that was killed itself."""


@dataclass(frozen=True)
class RunResult:
    """What came of a command."""

    incident: Incident
    exit_status: int
    """For our own exit: the target's code, or 128+n for signal n."""


def run_command(
    argv: tuple[str, ...], settings: Settings, listener: RunListener, keeper: Keeper
) -> RunResult:
    """Run ``argv`` to its end.

    A command that cannot be started is an incident too (``launch-failed``), with 126 or 127.
    Raises PerimortemError when the monitor itself cannot work; then nothing was started.
    """
    ensure_run_dir(settings.run_dir)
    for incident in tell_untold(settings, keeper, collect_host(), SystemClock()):
        listener.on_untold(incident)
    sweep(settings.run_dir)
    sweep_partials(settings.dumps_dir)
    with ExitStack() as stack:
        try:
            return _Run(argv, settings, listener, keeper, stack).watch()
        except LaunchFailed as error:
            why = f"{error.why}" + (f" ({error.remedy})" if error.remedy else "")
            incident = launch_failure(argv, why, collect_host(), error.exit_status)
            return RunResult(keeper.keep_launch_failure(incident), error.exit_status)


class _Run:
    """One command under watch: wires monitor, tree, command and heartbeats."""

    def __init__(
        self,
        argv: tuple[str, ...],
        settings: Settings,
        listener: RunListener,
        keeper: Keeper,
        stack: ExitStack,
    ) -> None:
        self._settings = settings
        self._stack = stack
        self._catcher: ExitCatcher | None = None
        self._listener = listener
        self._clock = SystemClock()
        self._sockets = self._listen(stack)
        address = self._sockets.address if self._sockets else None
        self._command = Command(argv, settings, address, self._clock.monotonic_ns())
        stack.callback(self._command.close)
        self._monitor = Monitor(
            settings, self._clock, collect_host(), listener, open_system_log(), keeper
        )
        stack.callback(self._monitor.close)
        commands: list[Session] = []
        self._tree = ProcessTree(
            settings,
            self._monitor.add,
            lambda: commands,
            self._helper_pids,
            self._command.list_orphans,
        )
        process = self._command.start()
        self._session = self._open_session(process, argv)
        commands.append(self._session)
        self._catcher = self._catch_exit(keeper)
        self._settle_until_ns = 0
        self._wire()
        raise_own_limits()
        listener.on_start(
            self._session.target,
            self._command.preload,
            self._session.sources,
            follow=settings.follow,
        )

    def _listen(self, stack: ExitStack) -> wire.Listener | None:
        """Without it the programs write down their crashes, and are not dumped."""
        if not self._settings.use_crash_handler:
            return None
        listener = wire.open_own_listener(self._settings.run_dir)
        stack.callback(listener.close)
        return listener

    def watch(self) -> RunResult:
        """Until the command has ended, and what it announced as its main process."""
        self._monitor.run(self._is_done)
        incident = self._session.incident
        assert incident is not None
        if self._settings.follow:
            incident = self._complete(incident)
        self._command.finish_output()
        self._listener.on_end(self._session, incident)
        return RunResult(incident, self._exit_status(incident))

    def _catch_exit(self, keeper: Keeper) -> ExitCatcher | None:
        options = self._settings.dump
        if not self._settings.captures_exit or options is None:
            return None
        unix_s = self._clock.realtime_ns() // 1_000_000_000
        catcher = ExitCatcher(self._monitor, self._session, keeper, options, unix_s)
        self._stack.callback(catcher.close)
        return catcher

    def _open_session(self, process: ProcessRef, argv: tuple[str, ...]) -> Session:
        now_ns = self._clock.monotonic_ns()
        target = self._named_by_command(collect_process_info(process), argv)
        session = Session(
            target=target,
            exit_watch=open_exit_watch(process, is_child=True),
            recorder=RecorderLink(self._settings.run_dir, process),
            watch=TargetWatch(self._settings.policy, now_ns),
            watched_since_ns=now_ns,
            parent_pid=os.getpid(),
            has_crash_handler=self._sockets is not None,
        )
        session.sources = self._command.heartbeats.begin(process, now_ns, self._tree.pids)
        preload = self._command.preload
        if preload.library is None and not preload.is_for_program:
            session.add_evidence(
                f"watched without the agent: {preload.reason}",
                self._command.preload_source,
                Confidence.OBSERVED,
            )
        return session

    def _wire(self) -> None:
        monitor = self._monitor
        self._command.wire(monitor, self._session, self._tree, self._helper_pids)
        monitor.on_ending = self._take_last_words
        monitor.on_ended = self._take_end
        if self._settings.follow:
            monitor.on_new_recorder = self._tree.take_recorder
            monitor.find_culprit = self._find_culprit
            monitor.each_second(self._tree.scan)
        if self._sockets is not None:
            clients = Clients(self._sockets, monitor, self._find_client)
            self._stack.callback(clients.close)
        monitor.add(self._session)

    def _find_client(self, pid: int, now_ns: int) -> Session | None:
        return self._session if pid == self._session.pid else self._tree.find(pid, now_ns)

    def _take_last_words(self, session: Session, now_ns: int) -> None:
        if session is self._session:
            if self._settings.follow:
                self._tree.scan(now_ns)  # what it left behind is ours by now
            self._command.heartbeats.take_last_words(now_ns, set(self._tree.pids()))

    def _take_end(self, session: Session, incident: Incident) -> None:
        if session is self._session:
            if self._catcher is not None:
                incident = self._catcher.drop_if_clean(incident)
            errors = (*incident.soft_errors, *self._command.heartbeats.soft_errors())
            incident = replace(incident, soft_errors=errors)
            session.incident = self._monitor.keep(session, incident)
            if incident.verdict in VIOLENT | {Verdict.FAILED_EXIT}:
                self._settle_until_ns = self._clock.monotonic_ns() + _SETTLE_NS
                self._monitor.timers.append(Timer(self._settle_until_ns, lambda _now_ns: None))
            return
        if session.number is not None or self._tree.deserves_incident(session, incident):
            session.incident = self._monitor.keep(session, incident)
            self._listener.on_end(session, session.incident)
        self._tree.note_end(session, incident)

    def _is_done(self) -> bool:
        if self._session.incident is None or self._monitor.is_looking_into_ends:
            return False
        if not self._tree.living:
            return True
        main_pid = self._command.heartbeats.main_pid
        if self._settings.wait_for_all or main_pid in self._tree.living:
            return False
        return self._clock.monotonic_ns() >= self._settle_until_ns

    def _complete(self, incident: Incident) -> Incident:
        """With the tree as it stands at the end."""
        self._tree.scan(self._clock.monotonic_ns())
        left = [
            describe_process(member, self._monitor.conclude_open(member))
            for member in self._tree.living.values()
        ]
        with suppress(OSError):
            self._tree.clean_up()
        tree = self._tree.summarize(describe_process(self._session, incident), left)
        return self._monitor.keep(self._session, replace(incident, tree=tree))

    def _exit_status(self, incident: Incident) -> int:
        if self._session.ended_by_policy:
            return ENDED_BY_POLICY_STATUS
        end = incident.exit
        if end.code is not None:
            return end.code
        return 128 + end.signal if end.signal is not None else 125

    def _find_culprit(self, session: Session) -> Session:
        announced = self._tree.living.get(self._command.heartbeats.main_pid or 0)
        return announced or self._tree.culprit(session)

    def _named_by_command(self, target: ProcessInfo, argv: tuple[str, ...]) -> ProcessInfo:
        """Between fork and exec it still looks like us; what was asked for is what it is."""
        return ProcessInfo(
            target.ref,
            printable(self._command.name),
            printable(str(self._command.program)),
            tuple(printable(argument) for argument in argv),
            target.started_at_ns,
        )

    def _helper_pids(self) -> set[int]:
        caught = self._catcher.pids if self._catcher is not None else set()
        return self._command.helper_pids | self._monitor.helper_pids() | caught
