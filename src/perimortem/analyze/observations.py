"""What a conclusion is drawn from: everything that was seen of one target by its end."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.model.crash import Crash
from perimortem.model.exits import Exit, Sender
from perimortem.model.recording import Heartbeat, Recording
from perimortem.model.words import SystemWords
from perimortem.watch.target import TargetWatch


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
    words: str = ""
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
    words: SystemWords
    crash: Crash | None = None
    """What its crash handler told or wrote down."""
    crash_sender: Sender | None = None
    """The other process that sent the signal of the crash."""


@dataclass(frozen=True)
class BeatAge:
    """A heartbeat at the end."""

    heartbeat: Heartbeat
    age_ns: int
    threshold_ns: int
    stale: bool
