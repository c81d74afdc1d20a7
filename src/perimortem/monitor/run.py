"""`perimortem run`: start a command, watch it, tell how it ended."""

from __future__ import annotations

import os
import selectors
import signal
import sys
from dataclasses import dataclass
from typing import Protocol

assert sys.platform == "linux"

from perimortem.analyze.observations import Request
from perimortem.clock import SystemClock
from perimortem.errors import LaunchFailed
from perimortem.exits.watch import open_exit_watch
from perimortem.model.evidence import Confidence
from perimortem.model.incident import Incident
from perimortem.model.process import Target
from perimortem.monitor.collect import collect_host, collect_target
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.kernel_words import open_kernel_words
from perimortem.monitor.launch import find_program, launch
from perimortem.monitor.loop import Listener, Monitor
from perimortem.monitor.observer import Observer
from perimortem.monitor.preload import Preload, choose_preload, preload_environment
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.monitor.session import Session, launch_failure
from perimortem.monitor.settings import Settings
from perimortem.monitor.signal_relay import SignalRelay
from perimortem.monitor.sweep import sweep
from perimortem.recorder.directory import ensure_run_dir
from perimortem.text import printable
from perimortem.watch.target import TargetWatch


class RunListener(Listener, Protocol):
    """What `run` tells besides what every watch tells."""

    def on_start(self, target: Target, preload: Preload) -> None:
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
    clock = SystemClock()
    host = collect_host()
    monitor = Monitor(settings, clock, host, listener, open_kernel_words(), keeper)
    relay = SignalRelay()
    try:
        program = find_program(argv[0])
        preload = (
            choose_preload(program, argv[1:])
            if settings.use_agent
            else Preload(None, "--no-agent was given")
        )
        environment = dict(os.environ)
        if preload.library is not None:
            environment = preload_environment(
                preload.library, settings.run_dir, os.getpid(), environment
            )
        launched = launch(argv, environment, relay.original_mask)
    except LaunchFailed as error:
        relay.close()
        monitor.close()
        why = f"{error.why}" + (f" ({error.remedy})" if error.remedy else "")
        incident = launch_failure(argv, why, host, error.exit_status)
        return RunResult(keeper.keep_launch_failure(incident), error.exit_status)
    try:
        session = Session(
            target=_named_by_command(collect_target(launched.process), argv, str(program)),
            exit_watch=open_exit_watch(launched.process, is_child=True),
            recorder=RecorderLink(settings.run_dir, launched.process),
            watch=TargetWatch(settings.policy, clock.monotonic_ns()),
            watched_since_ns=clock.monotonic_ns(),
            observer=Observer(launched.process, clock.monotonic_ns()),
        )
        if preload.library is None:
            session.add_evidence(
                f"watched without the agent: {preload.reason}", "ELF file", Confidence.OBSERVED
            )
        monitor.selector.register(
            relay.fileno(),
            selectors.EVENT_READ,
            lambda now_ns: _pass_on(relay, session, now_ns),
        )
        monitor.add(session)
        listener.on_start(session.target, preload)
        monitor.run()
    finally:
        relay.close()
        monitor.close()
        launched.popen.returncode = 0  # reaped by us: nothing is left for Popen to wait for
    assert session.incident is not None
    return RunResult(session.incident, _exit_status(session.incident))


def _pass_on(relay: SignalRelay, session: Session, now_ns: int) -> None:
    for received in relay.receive():
        session.requests.append(
            Request(received.signal, received.sender, now_ns, received.from_terminal)
        )
        if received.from_terminal or session.end is not None:
            continue
        try:
            signal.pidfd_send_signal(session.exit_watch.fileno(), received.signal)
        except ProcessLookupError:
            continue  # it has just ended by itself


def _named_by_command(target: Target, argv: tuple[str, ...], program: str) -> Target:
    """Between fork and exec it still looks like us; what was asked for is what it is."""
    name = printable(os.path.basename(argv[0])[:15] or argv[0])
    command_line = tuple(printable(argument) for argument in argv)
    return Target(target.ref, name, printable(program), command_line, target.started_at_ns)


def _exit_status(incident: Incident) -> int:
    end = incident.exit
    if end.code is not None:
        return end.code
    return 128 + end.signal if end.signal is not None else 125
