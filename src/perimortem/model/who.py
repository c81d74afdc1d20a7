"""Who ended a process."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perimortem.model.evidence import Confidence
from perimortem.model.exits import Sender


class WhoKind(StrEnum):
    """The answer, as far as it is known."""

    ITSELF = "itself"
    PROCESS = "process"
    KERNEL = "kernel"
    TERMINAL = "terminal"
    """The user's: Ctrl-C, a hang-up, a console that was closed."""
    PERIMORTEM = "perimortem"
    """Because of --on-hang."""
    NOBODY = "nobody"
    """It was never started, or it still runs."""
    UNKNOWN = "unknown"


class How(StrEnum):
    """By what; or why it is not known."""

    EXIT = "exit"
    """Its own call of exit, or its return from main."""
    FAULT = "fault"
    """Its own fault, abort or failed assertion."""
    EXCEPTION = "exception"
    """An unhandled exception (Windows)."""
    SIGNAL = "signal"
    TREE = "tree"
    """The rest of its process tree was being ended."""
    OOM = "oom"
    SECCOMP = "seccomp"
    RLIMIT = "rlimit"
    PIPE = "pipe"
    """It wrote to a pipe whose reader had gone."""
    NOT_STARTED = "not-started"
    RUNNING = "running"
    SENDER_UNSEEN = "sender-unseen"
    """A process or the kernel sent a signal; which one was not seen."""
    SENT_OR_RERAISED = "sent-or-reraised"
    """A fault signal without a fault in the kernel's log: sent, or reraised by its own handler."""
    TERMINATED_UNSEEN = "terminated-unseen"
    """TerminateProcess was called; by which process was not seen."""
    STATUS_UNKNOWN = "status-unknown"
    """No source knows how it ended."""


@dataclass(frozen=True)
class Who:
    """Who, how, and how that is known."""

    kind: WhoKind
    how: How
    confidence: Confidence
    source: str
    process: Sender | None = None
    """For kind PROCESS."""
    signal: int | None = None
