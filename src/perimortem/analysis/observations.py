"""What a conclusion is drawn from: everything that was seen of one target by its end."""

from __future__ import annotations

from dataclasses import dataclass, replace

from perimortem.hangs.target import TargetWatch
from perimortem.model.crash import Crash
from perimortem.model.exits import Exit, Sender
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
    """It reached the target by itself."""
    by_policy: bool = False
    """Sent by ourselves, as --on-hang asked."""
    is_traced: bool = False
    """Seen in the kernel's trace of signals, not by us."""
    console_event: str = ""
    """What it is called where it is no signal: "Ctrl-C", "the closing of its console"."""


@dataclass(frozen=True)
class Observations:
    """What was seen of one target by its end, or by the end of the watch. Times CLOCK_MONOTONIC."""

    exit: Exit
    ended_ns: int
    recording: Recording | None
    observed: tuple[Heartbeat, ...]
    """Heartbeats that do not come from its recorder."""
    recording_error: str | None
    has_agent: bool
    leaves_unseen: bool
    """It ends by a system call of its own (Go): that it said no goodbye means nothing."""
    watch: TargetWatch
    hang_open: bool
    hang_count: int
    requests: tuple[Request, ...]
    findings: SystemLogFindings
    monitor_pid: int = 0
    """Ourselves: what we passed on is told by who sent it to us."""
    crash: Crash | None = None
    """What its crash handler told or wrote down."""
    has_crash_handler: bool = False
    """Its agent stood before the default action of fatal signals."""
    crash_sender: Sender | None = None
    """The other process that sent the signal of the crash."""


def add_traced(seen: Observations) -> Observations:
    """With the signals that the kernel traced, as requests; those that we passed on are known."""
    traced = [
        Request(
            sent.signal,
            Sender(sent.sender_pid, None, sent.sender_name),
            sent.at_ns,
            from_terminal=False,
            is_traced=True,
        )
        for sent in seen.findings.signals
        if sent.sender_pid != seen.monitor_pid
    ]
    requests = tuple(sorted((*seen.requests, *traced), key=lambda request: request.at_ns))
    return replace(seen, requests=requests)


@dataclass(frozen=True)
class BeatAge:
    """A heartbeat at the end."""

    heartbeat: Heartbeat
    age_ns: int
    threshold_ns: int
    stale: bool
