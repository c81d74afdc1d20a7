"""A running command on Linux: relays signals, notifications and orphans between it and us."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable
from contextlib import suppress

assert sys.platform == "linux"

from perimortem.analysis.observations import Request
from perimortem.monitor.base import Base
from perimortem.monitor.discovery import Discovery
from perimortem.monitor.interrupts import Interrupts
from perimortem.monitor.platform.linux.command import Command
from perimortem.monitor.platform.linux.job_control import stop_with
from perimortem.monitor.platform.linux.reaper import list_orphans, reap
from perimortem.monitor.platform.linux.signal_relay import Received, Undecided
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.tree import ProcessTree
from perimortem.monitor.turns import Steps

_PATIENCE_S = 0.2
_REAP_INTERVAL_NS = 1_000_000_000
_GIVE_UP = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class CommandLink:
    """Created once the command runs; it relays what reaches us and is meant for the command."""

    def __init__(
        self,
        command: Command,
        root: Target,
        settings: Settings,
        base: Base,
        tree: ProcessTree,
        discovery: Discovery,
        interrupts: Interrupts,
        helper_pids: Callable[[], set[int]],
    ) -> None:
        """``helper_pids``: our own children that are not the command's."""
        self._command = command
        self._root = root
        self._settings = settings
        self._timers = base.timers
        self._turns = base.turns
        self._clock = base.clock
        self._targets = base.targets
        self._tree = tree
        self._discovery = discovery
        self._interrupts = interrupts
        self._helper_pids = helper_pids
        self._undecided = Undecided(command.probe)
        self._is_given_up = False
        """We were asked to end while the reader of our output was not reading."""
        # None of these is left for later: a signal comes before the end that it caused.
        base.selector.register(command.relay.fileno(), self._take_signals, comes_first=True)
        base.selector.register(command.probe.fileno(), self._decide, comes_first=True)
        notify = command.heartbeats.socket
        if notify is not None:
            base.selector.register(notify.fileno(), self._take_notifications, comes_first=True)
            if notify.relay is not None:
                relay = notify.relay
                base.selector.register(relay.fileno(), lambda _now_ns: relay.flush())
        base.timers.call_every(
            _REAP_INTERVAL_NS, base.clock.monotonic_ns(), lambda _now_ns: self._reap()
        )

    def finish_output(self) -> None:
        """Until all output is written; a signal abandons a reader of ours that does not read."""
        heartbeats = self._command.heartbeats
        while not heartbeats.finish(_PATIENCE_S) and not self._is_given_up:
            self._is_given_up = any(r.signal in _GIVE_UP for r in self._command.relay.receive(0))

    def _take_signals(self, now_ns: int) -> None:
        for received in self._command.relay.receive(now_ns):
            if self._root.ended_ns is not None and received.signal in _GIVE_UP:
                self._is_given_up = True
            if received.signal == signal.SIGCHLD:
                self._reap()
            elif not received.from_terminal:
                # The signal may end the target before it is known whether the target received it too.
                self._note_request(received, to_group=True)
                self._undecided.hold(received)
            elif received.signal == signal.SIGWINCH:
                # The target received it before its own terminal could have the new size.
                if self._command.heartbeats.resize():
                    self._pass_on(received)
            else:
                self._note_request(received, to_group=True)
            if received.signal == signal.SIGINT:
                self._interrupts.note(now_ns)
        self._decide(now_ns)

    def _decide(self, now_ns: int) -> None:
        self._undecided.listen(now_ns)
        for received in self._undecided.take_due(now_ns):
            self._note_request(received, to_group=False)
            self._pass_on(received)
        due_ns = self._undecided.due_ns(now_ns)
        if due_ns is not None:
            self._timers.arm(self._undecided, due_ns, self._decide)

    def _note_request(self, received: Received, *, to_group: bool) -> None:
        """``to_group``: the whole process group received it directly."""
        request = Request(
            received.signal, received.sender, received.at_ns, received.from_terminal, to_group
        )
        for target in (self._root, *self._tree.living.values()):
            if to_group or target is self._root:
                target.note_request(request)
            else:
                target.withdraw_request(request)

    def _pass_on(self, received: Received) -> None:
        """To the command; once that has ended, to what is left of its tree."""
        living = [target for target in self._tree.living.values() if target.is_alive]
        for target in [self._root] if self._root.is_alive else living:
            with suppress(ProcessLookupError, PermissionError):
                target.exit_watch.send_signal(received.signal)

    def _take_notifications(self, now_ns: int) -> None:
        self._command.heartbeats.take_notifications(now_ns, set(self._tree.pids()))
        if self._root.is_alive:
            self._targets.sample_at(self._root, now_ns)

    def _reap(self) -> None:
        """A child stopped or ended: the command is reaped through its pidfd, orphans are reaped here."""
        if self._root.is_alive:
            stop_with(self._root.exit_watch.waitable())
        self._turns.take(self, self._reap_steps())

    def _reap_steps(self) -> Steps:
        """Those that end meanwhile are for the next time: nothing is reaped before it is a member."""
        for pid in list_orphans():
            if self._settings.follow:
                yield from self._discovery.take_orphan(pid)
            if not self._targets.holds_pid(pid) and pid not in self._helper_pids():
                reap(pid)
            yield True
