"""A command on Linux: started as if we were not there; signals, terminal and orphans go through us."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from contextlib import ExitStack, suppress

assert sys.platform == "linux"

from perimortem.analyze.observations import Request
from perimortem.model.process import ProcessRef
from perimortem.monitor.loop import Monitor, Timer
from perimortem.monitor.platform.linux.heartbeats import Heartbeats
from perimortem.monitor.platform.linux.job_control import stop_with
from perimortem.monitor.platform.linux.launch import (
    LaunchOptions,
    find_program,
    launch,
    take_children,
)
from perimortem.monitor.platform.linux.preload import choose_preload, preload_environment
from perimortem.monitor.platform.linux.process_group_probe import ProcessGroupProbe
from perimortem.monitor.platform.linux.reaper import become_subreaper, list_orphans, reap_orphans
from perimortem.monitor.platform.linux.signal_relay import (
    RELAYED,
    Received,
    SignalRelay,
    Undecided,
)
from perimortem.monitor.preload import Preload
from perimortem.monitor.session import Session
from perimortem.monitor.settings import Settings
from perimortem.monitor.tree import ProcessTree
from perimortem.wire.layout import SOCKET_VARIABLE

_PATIENCE_S = 0.2
_GIVE_UP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class Command:
    """Everything is made ready first; :meth:`start` starts it, :meth:`wire` joins it to the loop."""

    preload_source = "ELF file"

    def __init__(
        self, argv: tuple[str, ...], settings: Settings, address: str | None, now_ns: int
    ) -> None:
        """``address``: where crashes are told. Raises LaunchFailed when there is no such program."""
        self._argv = argv
        self._settings = settings
        self._address = address
        self._stack = ExitStack()
        self.program = find_program(argv[0])
        self.name = os.path.basename(argv[0])[:15] or argv[0]  # as the kernel will call it
        self.preload = (
            choose_preload(self.program, argv[1:])
            if settings.use_agent
            else Preload(None, "--no-agent was given")
        )
        self._ignores_children = take_children()
        self._relay = SignalRelay((*RELAYED, signal.SIGCHLD))
        self._stack.callback(self._relay.close)
        self._ear = ProcessGroupProbe(self._relay.signals - {signal.SIGCHLD})
        self._stack.callback(self._ear.close)
        self.helper_pids = {self._ear.pid}
        self._undecided = Undecided(self._ear)
        self._decide_timer = Timer(None, self._decide)
        self.heartbeats = Heartbeats(settings, now_ns)
        self._stack.callback(self.heartbeats.close)
        self.list_orphans: Callable[[], list[int]] | None = list_orphans
        self._is_given_up = False
        """We were asked to end while our own reader did not read."""

    def start(self) -> ProcessRef:
        """Raises LaunchFailed."""
        if self._settings.follow:
            become_subreaper()
        launched = launch(
            self._argv,
            LaunchOptions(
                environment=self.heartbeats.extend(self._environment()),
                signal_mask=self._relay.original_mask,
                ignores_children=self._ignores_children,
                stdout=self.heartbeats.stdout,
                stderr=self.heartbeats.stderr,
            ),
        )
        # Reaped by us: nothing is left for Popen to wait for.
        self._stack.callback(setattr, launched.popen, "returncode", 0)
        return launched.process

    def wire(
        self,
        monitor: Monitor,
        session: Session,
        tree: ProcessTree,
        helper_pids: Callable[[], set[int]],
    ) -> None:
        """From now on what reaches us is passed on; ``helper_pids``: children that are not its."""
        self._monitor, self._session, self._tree = monitor, session, tree
        self._all_helper_pids = helper_pids
        monitor.selector.register(self._relay.fileno(), self._take_signals)
        monitor.selector.register(self._ear.fileno(), self._decide)
        notify = self.heartbeats.socket
        if notify is not None:
            monitor.selector.register(notify.fileno(), self._take_notifications)
            if notify.relay is not None:
                relay = notify.relay
                monitor.selector.register(relay.fileno(), lambda _now_ns: relay.flush())
        monitor.timers.append(self._decide_timer)
        monitor.each_second(lambda _now_ns: self._reap())

    def finish_output(self) -> None:
        """Until everything is out; a reader of ours that does not read may be given up by a signal."""
        while not self.heartbeats.finish(_PATIENCE_S) and not self._is_given_up:
            self._is_given_up = any(r.signal in _GIVE_UP for r in self._relay.receive(0))

    def close(self) -> None:
        self._stack.close()

    def _environment(self) -> dict[str, str]:
        environment = dict(os.environ)
        environment.pop(SOCKET_VARIABLE, None)
        if self._address is not None:
            environment |= {
                SOCKET_VARIABLE: self._address,
                "PERIMORTEM_RUN_DIR": str(self._settings.run_dir),
            }
        if self.preload.library is None:
            return environment
        return preload_environment(
            self.preload.library,
            self._settings.run_dir,
            os.getpid(),
            environment,
            follow=self._settings.follow,
        )

    def _take_signals(self, now_ns: int) -> None:
        for received in self._relay.receive(now_ns):
            if self._session.ended_ns is not None and received.signal in _GIVE_UP:
                self._is_given_up = True
            if received.signal == signal.SIGCHLD:
                self._reap()
            elif received.from_terminal:
                if received.signal == signal.SIGWINCH:
                    # The target had it before its own terminal could have the new size.
                    if self.heartbeats.resize():
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
                signal.pidfd_send_signal(session.exit_watch.waitable(), received.signal)

    def _take_notifications(self, now_ns: int) -> None:
        self.heartbeats.take_notifications(now_ns, set(self._tree.pids()))
        self._monitor.look_again(self._session, now_ns)

    def _reap(self) -> None:
        """A child has stopped or ended: ours is collected by its pidfd, orphans here."""
        if self._session.ended_ns is None:
            stop_with(self._session.exit_watch.waitable())
        if self._settings.follow:
            self._tree.take_orphans(self._monitor.now_ns())
        watched = {session.pid for session in self._monitor.sessions.values()}
        reap_orphans(watched | self._all_helper_pids())
