"""An incident: a verdict with its complete basis. What the store keeps and the report shows."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from perimortem.model.crash import Crash
from perimortem.model.dump import DumpResult
from perimortem.model.exits import Exit
from perimortem.model.fact import Fact
from perimortem.model.hang import Hang
from perimortem.model.last_words import LastWords
from perimortem.model.process import ProcessInfo
from perimortem.model.recording import Event
from perimortem.model.stuck import StuckThreads
from perimortem.model.thread_sample import HangCause
from perimortem.model.tree import Tree
from perimortem.model.verdict import Verdict
from perimortem.model.where import Where
from perimortem.model.who import Who

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination


@dataclass(frozen=True)
class Host:
    """The machine it happened on."""

    name: str
    kernel: str
    boot_id: str | None


@dataclass(frozen=True)
class LastHeartbeat:
    """The most informative heartbeat at the end, and the age of its last beat by then."""

    name: str
    age_s: float
    threshold_s: float
    stale: bool
    at_ns: int
    """Wall clock of the last beat."""


@dataclass(frozen=True)
class WatchedHang:
    """A hang with the dumps and stacks that were taken in it. Times are wall clock nanoseconds."""

    hang: Hang
    last_beat_at_ns: int
    detected_at_ns: int
    recovered_at_ns: int | None
    late_ms: float
    """Detection after the threshold had passed."""
    state: str | None
    """What its threads did when it hung, as text."""
    cause: HangCause | None = None
    examination: Examination | None = None
    """Its stacks and locks, from two samples."""
    deadlock: StuckThreads | None = None
    """The threads that nothing will ever wake; None if that is not why."""


@dataclass(frozen=True)
class Incident:
    """One watched process from start to verdict. Wall clock times in nanoseconds."""

    host: Host
    verdict: Verdict
    silent: bool | None
    """True if it ended without a goodbye; None if it had no agent that could send one."""
    target: ProcessInfo | None
    command_line: tuple[str, ...]
    exit: Exit
    started_at_ns: int
    ended_at_ns: int | None
    verdict_at_ns: int
    heartbeats: tuple[LastHeartbeat, ...]
    last_heartbeat: LastHeartbeat | None
    last_event: Event | None
    last_event_at_ns: int | None
    recent_events: tuple[tuple[int, Event], ...]
    """The last events with their wall clock time."""
    where: Where | None
    """Where it ended, if known."""
    hangs: tuple[WatchedHang, ...]
    dumps: tuple[DumpResult, ...]
    evidence: tuple[Fact, ...]
    soft_errors: tuple[str, ...]
    who: Who
    tree: Tree = field(default_factory=Tree)
    """Its descendants; empty for a member of a tree."""
    parent_pid: int | None = None
    labels: tuple[tuple[str, str], ...] = ()
    crash: Crash | None = None
    """The fault that ended it, as its crash handler reported it."""
    examination: Examination | None = None
    """The crash as examined from its dump."""
    last_words: LastWords | None = None
    """The end of its standard error, where it could be seen."""
    number: int | None = None
    """Its number in the store, once stored."""
    uid: str | None = None
    """The same for all reports of it, wherever they are kept."""
