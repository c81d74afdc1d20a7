"""`perimortem run`: start a command, watch it and all that comes from it, tell how it ended."""

from __future__ import annotations

import os
import resource
import selectors
import signal
import sys
from contextlib import ExitStack, suppress
from dataclasses import dataclass, replace
from typing import Protocol

assert sys.platform == "linux"

from perimortem.analyze.first_death import VIOLENT
from perimortem.analyze.observations import Request
from perimortem.beats.source import BeatSource
from perimortem.clock import SystemClock
from perimortem.errors import LaunchFailed
from perimortem.exits.watch import open_exit_watch
from perimortem.model.evidence import Confidence
from perimortem.model.incident import Incident
from perimortem.model.process import Target
from perimortem.model.verdict import Verdict
from perimortem.monitor.collect import collect_host, collect_target
from perimortem.monitor.group_ear import GroupEar
from perimortem.monitor.heartbeats import Heartbeats
from perimortem.monitor.job_control import stop_with
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.kernel_words import open_kernel_words
from perimortem.monitor.launch import (
    Launched,
    LaunchOptions,
    find_program,
    launch,
    take_children,
)
from perimortem.monitor.loop import Listener, Monitor, Timer
from perimortem.monitor.preload import Preload, choose_preload, preload_environment
from perimortem.monitor.reaper import become_subreaper, reap_orphans
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.session import Session, launch_failure
from perimortem.monitor.settings import Settings
from perimortem.monitor.signal_relay import RELAYED, Received, SignalRelay, Undecided
from perimortem.monitor.sweep import sweep
from perimortem.monitor.tree import ProcessTree, describe_process
from perimortem.recorder.directory import ensure_run_dir
from perimortem.text import printable
from perimortem.watch.target import TargetWatch

_SETTLE_NS = 200_000_000
"""After a bad end of the command: time for those to end that end of it. Arbitrary."""
_PATIENCE_S = 0.2
_GIVE_UP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)
ENDED_BY_POLICY_STATUS = 124
"""As timeout(1) reports that it had to end a command."""


class RunListener(Listener, Protocol):
    """What `run` tells besides what every watch tells."""

    def on_start(
        self, target: Target, preload: Preload, sources: list[BeatSource], *, follow: bool
    ) -> None:
        """The target runs."""


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
    sweep(settings.run_dir)
    with ExitStack() as stack:
        try:
            return _Run(argv, settings, listener, keeper, stack).watch()
        except LaunchFailed as error:
            why = f"{error.why}" + (f" ({error.remedy})" if error.remedy else "")
            incident = launch_failure(argv, why, collect_host(), error.exit_status)
            return RunResult(keeper.keep_launch_failure(incident), error.exit_status)


class _Run:
    """One command under watch: wires monitor, tree, signals and heartbeats."""

    def __init__(
        self,
        argv: tuple[str, ...],
        settings: Settings,
        listener: RunListener,
        keeper: Keeper,
        stack: ExitStack,
    ) -> None:
        self._settings = settings
        self._listener = listener
        self._clock = SystemClock()
        program = find_program(argv[0])
        preload = (
            choose_preload(program, argv[1:])
            if settings.use_agent
            else Preload(None, "--no-agent was given")
        )
        ignores_children = take_children()
        self._relay = SignalRelay((*RELAYED, signal.SIGCHLD))
        stack.callback(self._relay.close)
        self._ear = GroupEar(self._relay.signals - {signal.SIGCHLD})
        stack.callback(self._ear.close)
        self._undecided = Undecided(self._ear)
        self._decide_timer = Timer(None, self._decide)
        self._heartbeats = Heartbeats(settings, self._clock.monotonic_ns())
        stack.callback(self._heartbeats.close)
        self._monitor = Monitor(
            settings, self._clock, collect_host(), listener, open_kernel_words(), keeper
        )
        stack.callback(self._monitor.close)
        commands: list[Session] = []
        self._tree = ProcessTree(
            settings, self._monitor.add, lambda: commands, self._helper_pids, adopts_orphans=True
        )
        if settings.follow:
            become_subreaper()
        launched = launch(
            argv,
            LaunchOptions(
                environment=self._heartbeats.extend(_environment(preload, settings)),
                signal_mask=self._relay.original_mask,
                ignores_children=ignores_children,
                stdout=self._heartbeats.stdout,
                stderr=self._heartbeats.stderr,
            ),
        )
        stack.callback(_disown, launched)
        self._session = self._open_session(launched, argv, str(program), preload)
        commands.append(self._session)
        self._settle_until_ns = 0
        self._is_given_up = False
        """We were asked to end while our own reader did not read."""
        self._wire()
        _raise_descriptor_limit()
        listener.on_start(
            self._session.target, preload, self._session.sources, follow=settings.follow
        )

    def watch(self) -> RunResult:
        """Until the command has ended, and what it announced as its main process."""
        self._monitor.run(self._is_done)
        incident = self._session.incident
        assert incident is not None
        if self._settings.follow:
            incident = self._complete(incident)
        self._finish_output()
        self._listener.on_end(self._session, incident)
        return RunResult(incident, self._exit_status(incident))

    def _open_session(
        self, launched: Launched, argv: tuple[str, ...], program: str, preload: Preload
    ) -> Session:
        now_ns = self._clock.monotonic_ns()
        session = Session(
            target=_named_by_command(collect_target(launched.process), argv, program),
            exit_watch=open_exit_watch(launched.process, is_child=True),
            recorder=RecorderLink(self._settings.run_dir, launched.process),
            watch=TargetWatch(self._settings.policy, now_ns),
            watched_since_ns=now_ns,
            parent_pid=os.getpid(),
        )
        session.sources = self._heartbeats.begin(launched.process, now_ns, self._tree.pids)
        if preload.library is None:
            session.add_evidence(
                f"watched without the agent: {preload.reason}", "ELF file", Confidence.OBSERVED
            )
        return session

    def _wire(self) -> None:
        monitor = self._monitor
        for source, call in (
            (self._relay.fileno(), self._take_signals),
            (self._ear.fileno(), self._decide),
        ):
            monitor.selector.register(source, selectors.EVENT_READ, call)
        if self._heartbeats.socket is not None:
            monitor.selector.register(
                self._heartbeats.socket.fileno(), selectors.EVENT_READ, self._take_notifications
            )
        monitor.timers.append(self._decide_timer)
        monitor.on_ending = self._take_last_words
        monitor.on_ended = self._take_end
        if self._settings.follow:
            monitor.on_new_recorder = self._tree.take_recorder
            monitor.find_culprit = self._find_culprit
            monitor.each_second(self._tree.scan)
        monitor.each_second(lambda _now_ns: self._reap())
        monitor.each_second(lambda _now_ns: self._heartbeats.flush())
        monitor.add(self._session)

    # Signals

    def _take_signals(self, now_ns: int) -> None:
        for received in self._relay.receive(now_ns):
            if self._session.ended_ns is not None and received.signal in _GIVE_UP:
                self._is_given_up = True
            if received.signal == signal.SIGCHLD:
                self._reap()
            elif received.from_terminal:
                if received.signal == signal.SIGWINCH:
                    # The target had it before its own terminal could have the new size.
                    if self._heartbeats.resize():
                        self._pass_on(received)
                else:
                    self._note_request(received, to_group=True)
            else:
                # The target may end of it before it is known whether it had it, too.
                self._note_request(received, to_group=True)
                self._undecided.hold(received)
        self._decide(now_ns)

    def _decide(self, now_ns: int) -> None:
        self._undecided.listen(now_ns)
        for received in self._undecided.take_due(now_ns):
            self._note_request(received, to_group=False)
            self._pass_on(received)
        self._decide_timer.due_ns = self._undecided.due_ns()

    def _note_request(self, received: Received, *, to_group: bool) -> None:
        """``to_group``: a later word on the same signal replaces the first."""
        request = Request(
            received.signal, received.sender, received.at_ns, received.from_terminal, to_group
        )
        for session in (self._session, *self._tree.living.values()):
            session.requests = [
                known
                for known in session.requests
                if (known.signal, known.at_ns) != (request.signal, request.at_ns)
            ]
            if to_group or session is self._session:
                session.requests.append(request)

    def _pass_on(self, received: Received) -> None:
        """To the command; once that has ended, to what is left of it."""
        left = [self._session] if self._session.end is None else self._tree.living.values()
        for session in left:
            with suppress(ProcessLookupError, PermissionError):
                signal.pidfd_send_signal(session.exit_watch.fileno(), received.signal)

    def _take_notifications(self, now_ns: int) -> None:
        self._heartbeats.take_notifications(now_ns, set(self._tree.pids()))
        self._monitor.look_again(self._session, now_ns)

    # Ends

    def _take_last_words(self, session: Session, now_ns: int) -> None:
        if session is self._session:
            if self._settings.follow:
                self._tree.scan(now_ns)  # what it left behind is ours by now
            self._heartbeats.take_last_words(now_ns, set(self._tree.pids()))

    def _take_end(self, session: Session, incident: Incident) -> None:
        if session is self._session:
            errors = (*incident.soft_errors, *self._heartbeats.soft_errors())
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
        if self._settings.wait_for_all or self._heartbeats.main_pid in self._tree.living:
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

    def _finish_output(self) -> None:
        """Until everything is out; a reader of ours that does not read may be given up by a signal."""
        while not self._heartbeats.finish(_PATIENCE_S) and not self._is_given_up:
            received = self._relay.receive(self._clock.monotonic_ns())
            self._is_given_up = any(r.signal in _GIVE_UP for r in received)

    def _exit_status(self, incident: Incident) -> int:
        if self._session.ended_by_policy:
            return ENDED_BY_POLICY_STATUS
        end = incident.exit
        if end.code is not None:
            return end.code
        return 128 + end.signal if end.signal is not None else 125

    # The tree

    def _find_culprit(self, session: Session) -> Session:
        announced = self._tree.living.get(self._heartbeats.main_pid or 0)
        return announced or self._tree.culprit(session)

    def _reap(self) -> None:
        """A child has stopped or ended: ours is collected by its pidfd, orphans here."""
        if self._session.ended_ns is None:
            stop_with(self._session.exit_watch.fileno())
        if self._settings.follow:
            self._tree.take_orphans(self._clock.monotonic_ns())
        watched = {session.pid for session in self._monitor.sessions.values()}
        reap_orphans(watched | self._helper_pids())

    def _helper_pids(self) -> set[int]:
        return {self._ear.pid} | self._monitor.helper_pids()


def _environment(preload: Preload, settings: Settings) -> dict[str, str]:
    environment = dict(os.environ)
    if preload.library is None:
        return environment
    return preload_environment(
        preload.library, settings.run_dir, os.getpid(), environment, follow=settings.follow
    )


def _disown(launched: Launched) -> None:
    """Reaped by us: nothing is left for Popen to wait for."""
    launched.popen.returncode = 0


def _raise_descriptor_limit() -> None:
    """Each member takes two descriptors. The target has been started with the limits that we had."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def _named_by_command(target: Target, argv: tuple[str, ...], program: str) -> Target:
    """Between fork and exec it still looks like us; what was asked for is what it is."""
    name = printable(os.path.basename(argv[0])[:15] or argv[0])
    command_line = tuple(printable(argument) for argument in argv)
    return Target(target.ref, name, printable(program), command_line, target.started_at_ns)
