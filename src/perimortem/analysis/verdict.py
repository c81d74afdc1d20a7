"""The verdict table: every combination of facts has exactly one row (docs/verdicts.md).

Rows are disjoint on purpose, so their order does not matter and each can be justified alone;
tests/unit/test_verdict.py enumerates every combination and finds exactly one row for it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perimortem.model.verdict import Verdict


class StatusKind(StrEnum):
    """What the exit status says."""

    NOT_STARTED = "not started"
    RUNNING = "still running"
    UNKNOWN = "status unknown"
    ZERO = "status 0"
    NONZERO = "status not 0"
    FAULT = "fault signal or exception"
    """SEGV, BUS, ILL, FPE, TRAP, ABRT, SYS, and those the kernel raises (ALRM, XCPU ...); an unhandled
    exception, or a fast-fail."""
    SIGKILL = "SIGKILL or TerminateProcess"
    BROKEN_PIPE = "PIPE"
    """It wrote where no one reads any more."""
    STOP_REQUEST = "INT, TERM, HUP, Ctrl-C"
    OTHER_SIGNAL = "other signal"
    """QUIT, USR1, USR2, real-time: they are only ever sent."""


class Goodbye(StrEnum):
    """What the process said about its end."""

    SAID = "said"
    FOREIGN = "ended by library or thread"
    NONE = "not said"
    NO_AGENT = "no agent"


class Beat(StrEnum):
    """The last beat at the end."""

    FRESH = "fresh"
    STALE = "stale"
    NONE = "none"


class HangSeen(StrEnum):
    """Hangs before the end."""

    NONE = "none"
    RECOVERED = "recovered"
    OPEN = "open"


class EndedBy(StrEnum):
    """Who ended it, as far as observed."""

    UNKNOWN = "not seen"
    ITSELF = "itself"
    ANOTHER = "another process"
    """For an exit: it had been asked to stop (INT, TERM, HUP) and then exited."""
    OOM = "out-of-memory killer"


@dataclass(frozen=True)
class Facts:
    """One combination."""

    status: StatusKind
    goodbye: Goodbye
    beat: Beat
    hang: HangSeen
    ended_by: EndedBy


@dataclass(frozen=True)
class Row:
    """One row of the table; an empty set means any."""

    number: int
    verdict: Verdict
    why: str
    status: frozenset[StatusKind] = frozenset()
    goodbye: frozenset[Goodbye] = frozenset()
    beat: frozenset[Beat] = frozenset()
    hang: frozenset[HangSeen] = frozenset()
    ended_by: frozenset[EndedBy] = frozenset()

    def matches(self, facts: Facts) -> bool:
        return (
            (not self.status or facts.status in self.status)
            and (not self.goodbye or facts.goodbye in self.goodbye)
            and (not self.beat or facts.beat in self.beat)
            and (not self.hang or facts.hang in self.hang)
            and (not self.ended_by or facts.ended_by in self.ended_by)
        )


def _status(*kinds: StatusKind) -> frozenset[StatusKind]:
    return frozenset(kinds)


_NOT_OOM = frozenset({EndedBy.UNKNOWN, EndedBy.ITSELF, EndedBy.ANOTHER})
_NOT_ANOTHER = frozenset({EndedBy.UNKNOWN, EndedBy.ITSELF, EndedBy.OOM})
_NOT_OPEN = frozenset({HangSeen.NONE, HangSeen.RECOVERED})
_OPEN = frozenset({HangSeen.OPEN})
_SAID = frozenset({Goodbye.SAID})
_UNSAID = frozenset({Goodbye.NONE, Goodbye.FOREIGN, Goodbye.NO_AGENT})
_AGENT_UNSAID = frozenset({Goodbye.NONE, Goodbye.FOREIGN})
_NO_AGENT = frozenset({Goodbye.NO_AGENT})
_STALE = frozenset({Beat.STALE})
_NOT_STALE = frozenset({Beat.FRESH, Beat.NONE})
_ANOTHER = frozenset({EndedBy.ANOTHER})

TABLE: tuple[Row, ...] = (
    Row(1, Verdict.LAUNCH_FAILED, "it never ran", _status(StatusKind.NOT_STARTED)),
    Row(2, Verdict.HANG, "the watch ended while it hung", _status(StatusKind.RUNNING), hang=_OPEN),
    Row(
        3,
        Verdict.UNKNOWN,
        "the watch ended before it did",
        _status(StatusKind.RUNNING),
        hang=_NOT_OPEN,
    ),
    Row(
        4,
        Verdict.OOM_KILL,
        "the kernel's out-of-memory killer named it",
        _status(StatusKind.UNKNOWN, StatusKind.SIGKILL),
        ended_by=frozenset({EndedBy.OOM}),
    ),
    Row(
        5,
        Verdict.UNKNOWN,
        "it said goodbye; the status is not known",
        _status(StatusKind.UNKNOWN),
        goodbye=_SAID,
        ended_by=_NOT_OOM,
    ),
    Row(
        6,
        Verdict.SILENT_CRASH,
        "it ended without goodbye, its last beat older than the threshold",
        _status(StatusKind.UNKNOWN),
        goodbye=_UNSAID,
        beat=_STALE,
        ended_by=_NOT_OOM,
    ),
    Row(
        7,
        Verdict.UNKNOWN,
        "neither status nor last beat shows how",
        _status(StatusKind.UNKNOWN),
        goodbye=_UNSAID,
        beat=_NOT_STALE,
        ended_by=_NOT_OOM,
    ),
    Row(
        8,
        Verdict.CLEAN_EXIT,
        "status 0 with a goodbye",
        _status(StatusKind.ZERO),
        goodbye=_SAID,
    ),
    Row(
        9,
        Verdict.CLEAN_EXIT,
        "status 0 and nothing was wrong, although no goodbye was said",
        _status(StatusKind.ZERO),
        goodbye=_UNSAID,
        beat=_NOT_STALE,
    ),
    Row(
        10,
        Verdict.SILENT_CRASH,
        "status 0 but no goodbye, the last beat older than the threshold",
        _status(StatusKind.ZERO),
        goodbye=_UNSAID,
        beat=_STALE,
        ended_by=_NOT_ANOTHER,
    ),
    Row(
        11,
        Verdict.STOPPED,
        "asked to stop, it left with status 0 and no goodbye",
        _status(StatusKind.ZERO),
        goodbye=_UNSAID,
        beat=_STALE,
        ended_by=_ANOTHER,
    ),
    Row(
        12,
        Verdict.FAILED_EXIT,
        "its own decision to leave with a failure",
        _status(StatusKind.NONZERO),
        goodbye=_SAID,
        ended_by=_NOT_ANOTHER,
    ),
    Row(
        13,
        Verdict.STOPPED,
        "asked to stop, it exited with its own status",
        _status(StatusKind.NONZERO),
        ended_by=_ANOTHER,
    ),
    Row(
        14,
        Verdict.SILENT_CRASH,
        "it ended without goodbye, and no other process ended it",
        _status(StatusKind.NONZERO),
        goodbye=_AGENT_UNSAID,
        ended_by=_NOT_ANOTHER,
    ),
    Row(
        15,
        Verdict.SILENT_CRASH,
        "its last beat was older than the threshold when it ended with a failure",
        _status(StatusKind.NONZERO),
        goodbye=_NO_AGENT,
        beat=_STALE,
        ended_by=_NOT_ANOTHER,
    ),
    Row(
        16,
        Verdict.FAILED_EXIT,
        "a failure status; without an agent a goodbye cannot be known",
        _status(StatusKind.NONZERO),
        goodbye=_NO_AGENT,
        beat=_NOT_STALE,
        ended_by=_NOT_ANOTHER,
    ),
    Row(
        17,
        Verdict.CRASH,
        "its own fatal signal or exception",
        _status(StatusKind.FAULT),
        ended_by=_NOT_ANOTHER,
    ),
    Row(
        18,
        Verdict.HANG,
        "it hung until another process ended it",
        _status(StatusKind.FAULT),
        hang=_OPEN,
        ended_by=_ANOTHER,
    ),
    Row(
        19,
        Verdict.KILLED,
        "another process sent it a fatal signal",
        _status(StatusKind.FAULT, StatusKind.BROKEN_PIPE),
        hang=_NOT_OPEN,
        ended_by=_ANOTHER,
    ),
    Row(
        20,
        Verdict.HANG,
        "it hung until it was ended",
        _status(StatusKind.SIGKILL),
        hang=_OPEN,
        ended_by=_NOT_OOM,
    ),
    Row(
        21,
        Verdict.KILLED,
        "SIGKILL, or TerminateProcess",
        _status(StatusKind.SIGKILL),
        hang=_NOT_OPEN,
        ended_by=_NOT_OOM,
    ),
    Row(
        22,
        Verdict.HANG,
        "it hung until it was ended",
        _status(StatusKind.STOP_REQUEST, StatusKind.OTHER_SIGNAL, StatusKind.BROKEN_PIPE),
        hang=_OPEN,
    ),
    Row(
        23,
        Verdict.STOPPED,
        "it was asked to stop",
        _status(StatusKind.STOP_REQUEST),
        hang=_NOT_OPEN,
    ),
    Row(
        24,
        Verdict.KILLED,
        "a signal that only a sender raises",
        _status(StatusKind.OTHER_SIGNAL),
        hang=_NOT_OPEN,
        ended_by=frozenset({EndedBy.UNKNOWN, EndedBy.ANOTHER, EndedBy.OOM}),
    ),
    Row(
        25,
        Verdict.CRASH,
        "a fatal signal that it sent to itself",
        _status(StatusKind.OTHER_SIGNAL),
        hang=_NOT_OPEN,
        ended_by=frozenset({EndedBy.ITSELF}),
    ),
    Row(
        26,
        Verdict.FAILED_EXIT,
        "it wrote to a pipe or a socket whose reader had gone",
        _status(StatusKind.BROKEN_PIPE),
        hang=_NOT_OPEN,
        ended_by=_NOT_ANOTHER,
    ),
)


def find_row(facts: Facts) -> Row:
    """The one row of the table for these facts."""
    return next(row for row in TABLE if row.matches(facts))


def render_table() -> str:
    """The table as Markdown, as it stands in docs/verdicts.md."""
    columns = ("status", "goodbye", "beat", "hang", "ended_by")
    head = "| # | exit status | goodbye | last beat | hang | ended by | verdict | because |"
    lines = [head, "|---|---|---|---|---|---|---|---|"]
    for row in TABLE:
        cells = [
            " or ".join(sorted(value.value for value in getattr(row, column))) or "any"
            for column in columns
        ]
        lines.append(f"| {row.number} | " + " | ".join(cells) + f" | `{row.verdict}` | {row.why} |")
    return "\n".join(lines) + "\n"
