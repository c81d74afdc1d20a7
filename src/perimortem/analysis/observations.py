"""The input of a conclusion: everything observed of one target by its end."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perimortem.hangs.target import TargetWatch
from perimortem.model.crash import Crash
from perimortem.model.exits import Exit, Sender
from perimortem.model.fact import Fact
from perimortem.model.recording import Heartbeat, Recording
from perimortem.model.system_log import SystemLogFindings


@dataclass(frozen=True)
class Request:
    """A signal that was seen going to the target: passed on by us, or Ctrl-C to the whole group."""

    signal: int
    sender: Sender | None
    at_ns: int
    from_terminal: bool
    to_group: bool = False
    """It reached the target directly."""
    by_policy: bool = False
    """Sent by us, because of --on-hang."""
    is_traced: bool = False
    """Seen in the kernel's signal trace, not by us."""
    console_event: str = ""
    """The console event, if it is not a signal: "Ctrl-C", "the closing of its console"."""


@dataclass(frozen=True)
class Observations:
    """What was observed of one target by its end, or by the end of the watch. Times CLOCK_MONOTONIC."""

    exit: Exit
    ended_ns: int
    recording: Recording | None
    observed: tuple[Heartbeat, ...]
    """Heartbeats that do not come from its recorder."""
    recording_error: str | None
    has_agent: bool
    leaves_unseen: bool | None
    """It exits by a direct system call (Go): the absence of a goodbye means nothing. None: not known."""
    watch: TargetWatch
    hang_open: bool
    hang_count: int
    requests: tuple[Request, ...]
    findings: SystemLogFindings
    monitor_pid: int = 0
    """Our own pid: a signal that we passed on is attributed to the process that sent it to us."""
    noted: tuple[Fact, ...] = ()
    """By the monitor, while it ran."""
    crash: Crash | None = None
    """What its crash handler reported or recorded."""
    has_crash_handler: bool = False
    """Its agent handled fatal signals instead of the default action."""
    crash_sender: Sender | None = None
    """The other process that sent the signal of the crash."""


def add_traced(seen: Observations) -> Observations:
    """Adds the signals of other processes that the kernel traced, as requests, except those that we
    passed on."""
    traced = [
        Request(
            sent.signal,
            Sender(sent.sender_pid, None, sent.sender_name),
            sent.at_ns,
            from_terminal=False,
            is_traced=True,
        )
        for sent in seen.findings.signals
        if sent.sender_pid != seen.monitor_pid and not sent.is_own
    ]
    requests = tuple(sorted((*seen.requests, *traced), key=lambda request: request.at_ns))
    return replace(seen, requests=requests)


def has_sent_itself(seen: Observations) -> bool:
    """It sent the signal that ended it to itself."""
    sent = [each for each in seen.findings.signals if each.signal == seen.exit.signal]
    return bool(sent) and sent[-1].is_own


@dataclass(frozen=True)
class BeatAge:
    """A heartbeat at the end."""

    heartbeat: Heartbeat
    age_ns: int
    threshold_ns: int
    stale: bool
