"""The life cycle of one watched process: (state, event) -> (state, effects). Pure.

docs/states.md draws it; tests/unit/test_lifecycle.py holds drawing and table together and plays every
order of events. A sample of a healthy process is no event: only what changes the phase, what is
awaited, or the evidence is. What an effect does is ``effects``'s business.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perimortem.errors import PerimortemError


class Phase(StrEnum):
    """What is being done about a target."""

    WATCHED = "watched"
    """It runs, and nothing is under way."""
    SAMPLING = "sampling"
    """A hang was reported; the second sample of its threads is due."""
    DUMPING = "dumping"
    """The dump of a hang is being written."""
    EXAMINING = "examining"
    """The stacks of a hang are being read."""
    CRASHING = "crashing"
    """Its crash handler waits until the dump is written."""
    DIAGNOSING = "diagnosing"
    """The crash handler was answered; the dump is being examined while the process ends."""
    EXITING = "exiting"
    """It has ended; its status, or work under way, is awaited."""
    STORING = "storing"
    """Its report is being written."""
    REPORTED = "reported"
    """Its end was reported."""
    RELEASED = "released"
    """It runs on and is no longer watched."""


class Event(StrEnum):
    """What happens to a target."""

    HANG_DETECTED = "hang detected"
    HANG_RECOVERED = "hang recovered"
    SAMPLED = "second sample taken"
    HANG_DUMPED = "dump of the hang finished"
    HANG_EXAMINED = "hang examined"
    CRASHED = "crash reported by its handler"
    CRASHED_AGAIN = "another crash report"
    CRASH_DUMPED = "dump of the crash written"
    CRASH_NOT_DUMPED = "no dump of the crash"
    CRASH_EXAMINED = "crash examined"
    EXIT_DUMPED = "dump at the exit finished"
    END_REQUESTED = "end requested (--on-hang)"
    MONITOR_AT_RISK = "we may be ended"
    PATIENCE_OVER = "patience is over"
    EXITED = "process ended"
    STATUS_KNOWN = "exit status known"
    NOTHING_AWAITED = "nothing is awaited any more"
    STORED = "report written"
    LEFT = "its crash handler was removed"
    WATCH_ENDED = "watch ended"


class Effect(StrEnum):
    """What is to be done about it."""

    NOTIFY_HANG = "notify: hang"
    ARM_SAMPLE = "arm the timer of the second sample"
    DISARM_SAMPLE = "disarm the timer of the second sample"
    DUMP_HANG = "dump the hang"
    EXAMINE_HANG = "examine the hang"
    CANCEL_EXAMINATION = "cancel the hang's examination"
    NOTIFY_HANG_EXAMINED = "notify: hang examined"
    NOTIFY_RECOVERY = "notify: recovery"
    END_TREE = "request the end of the tree, if --on-hang says so"
    SIGNAL_END = "signal: end"
    SIGNAL_KILL = "signal: kill"
    ARM_PATIENCE = "arm the timer of the kill"
    DISARM_PATIENCE = "disarm the timer of the kill"
    DUMP_CRASH = "dump the crash"
    ANSWER_CRASH = "answer the crash handler"
    EXAMINE_CRASH = "examine the crash's dump"
    RECORD = "record what is known"
    COLLECT_STATUS = "collect the exit status"
    CONCLUDE = "draw the verdict"
    CANCEL_WORK = "cancel all work"
    STORE_END = "store the report"
    REPORT_END = "report the end"
    REPORT_RELEASE = "report that it runs on"
    CLOSE = "close what is held of it"


class Awaited(StrEnum):
    """What was begun for a target and has not answered yet."""

    SAMPLE = "second sample"
    HANG_DUMP = "dump of the hang"
    HANG_EXAMINATION = "examination of the hang"
    CRASH_DUMP = "dump of the crash"
    CRASH_EXAMINATION = "examination of the crash"
    EXIT_DUMP = "dump at the exit"
    STATUS = "exit status"
    PATIENCE = "timer of the kill"
    STORE = "report"


class UnexpectedEvent(PerimortemError):
    """An event for which there is no transition: a bug of ours."""


@dataclass(frozen=True, slots=True)
class Life:
    """The state of one target."""

    phase: Phase = Phase.WATCHED
    awaited: frozenset[Awaited] = frozenset()
    is_end_requested: bool = False
    is_end_signalled: bool = False
    """A process is asked to end once; further requests change nothing."""

    @property
    def is_over(self) -> bool:
        """Nothing happens to it any more."""
        return self.phase in (Phase.REPORTED, Phase.RELEASED)

    @property
    def is_idle(self) -> bool:
        """It runs and no inquiry of ours is under way: its silence is its own."""
        return self.phase is Phase.WATCHED and self.awaited <= _UNINTRUSIVE


@dataclass(frozen=True)
class Transition:
    """``event`` in any of ``phases``; ``target`` is None where the phase stays."""

    letter: str
    phases: frozenset[Phase]
    events: frozenset[Event]
    target: Phase | None
    effects: tuple[Effect, ...] = ()


_W, _S, _D, _E = Phase.WATCHED, Phase.SAMPLING, Phase.DUMPING, Phase.EXAMINING
_C, _G, _X, _R = Phase.CRASHING, Phase.DIAGNOSING, Phase.EXITING, Phase.STORING
RUNNING = frozenset({_W, _S, _D, _E, _C, _G})
"""The phases of a process that has not ended."""
_UNINTRUSIVE = frozenset({Awaited.EXIT_DUMP, Awaited.PATIENCE})


def _row(
    letter: str,
    phases: Phase | frozenset[Phase] | set[Phase],
    events: Event | set[Event],
    target: Phase | None,
    *effects: Effect,
) -> Transition:
    from_phases = frozenset({phases} if isinstance(phases, Phase) else phases)
    on_events = frozenset({events} if isinstance(events, Event) else events)
    return Transition(letter, from_phases, on_events, target, effects)


_END_EFFECTS = (Effect.SIGNAL_END, Effect.ARM_PATIENCE)
_STOP_TIMERS = (Effect.DISARM_SAMPLE, Effect.DISARM_PATIENCE)
_LET_GO = (*_STOP_TIMERS, Effect.CANCEL_WORK, Effect.ANSWER_CRASH)

TRANSITIONS: tuple[Transition, ...] = (
    _row("a", _W, Event.HANG_DETECTED, _S, Effect.NOTIFY_HANG, Effect.ARM_SAMPLE),
    _row("b", _S, Event.SAMPLED, _D, Effect.DUMP_HANG),
    _row("c", _D, Event.HANG_DUMPED, _E, Effect.EXAMINE_HANG),
    _row("d", _E, Event.HANG_EXAMINED, _W, Effect.NOTIFY_HANG_EXAMINED, Effect.END_TREE),
    _row("e", _W, Event.HANG_RECOVERED, None, Effect.NOTIFY_RECOVERY, Effect.RECORD),
    _row(
        "f",
        {_W, _S, _D, _E},
        Event.CRASHED,
        _C,
        Effect.DISARM_SAMPLE,
        Effect.CANCEL_EXAMINATION,
        Effect.DUMP_CRASH,
        Effect.RECORD,
    ),
    _row(
        "g",
        _C,
        Event.CRASH_DUMPED,
        _G,
        Effect.ANSWER_CRASH,
        Effect.RECORD,
        Effect.EXAMINE_CRASH,
    ),
    _row("h", _C, Event.CRASH_NOT_DUMPED, _W, Effect.ANSWER_CRASH, Effect.RECORD),
    _row("i", _G, Event.CRASH_EXAMINED, _W, Effect.RECORD),
    _row("j", RUNNING - {_C}, Event.CRASHED_AGAIN, None, Effect.ANSWER_CRASH),
    _row("k", _C, Event.CRASHED_AGAIN, None),
    _row("l", {_W, _C, _G}, Event.HANG_DUMPED, None),
    _row("m", RUNNING, Event.EXIT_DUMPED, None),
    _row("n", _W, Event.END_REQUESTED, None, *_END_EFFECTS),
    _row("o", RUNNING - {_W}, Event.END_REQUESTED, None),
    _row("p", {_W, _S, _D, _E}, Event.PATIENCE_OVER, None, Effect.SIGNAL_KILL),
    _row("q", {_C, _G}, Event.PATIENCE_OVER, None, Effect.ARM_PATIENCE),
    _row("B", RUNNING, Event.MONITOR_AT_RISK, None, Effect.RECORD),
    _row("r", RUNNING, Event.EXITED, _X, *_STOP_TIMERS, Effect.COLLECT_STATUS),
    _row("s", _X, Event.STATUS_KNOWN, None, Effect.CONCLUDE),
    _row("t", _X, Event.CRASH_DUMPED, None, Effect.ANSWER_CRASH, Effect.EXAMINE_CRASH),
    _row(
        "u",
        _X,
        {Event.CRASH_NOT_DUMPED, Event.CRASHED, Event.CRASHED_AGAIN},
        None,
        Effect.ANSWER_CRASH,
    ),
    _row(
        "v",
        _X,
        {Event.HANG_DUMPED, Event.HANG_EXAMINED, Event.CRASH_EXAMINED, Event.EXIT_DUMPED},
        None,
    ),
    _row("w", {_X, _R}, {Event.END_REQUESTED, Event.LEFT, Event.MONITOR_AT_RISK}, None),
    _row("x", _X, Event.NOTHING_AWAITED, _R, Effect.STORE_END),
    _row("y", RUNNING, Event.LEFT, Phase.RELEASED, *_LET_GO, Effect.CLOSE),
    _row(
        "z",
        RUNNING,
        Event.WATCH_ENDED,
        Phase.RELEASED,
        *_LET_GO,
        Effect.REPORT_RELEASE,
        Effect.CLOSE,
    ),
    _row(
        "A",
        _X,
        Event.WATCH_ENDED,
        _R,
        Effect.CANCEL_WORK,
        Effect.ANSWER_CRASH,
        Effect.STORE_END,
    ),
    _row("C", _R, Event.STORED, Phase.REPORTED, Effect.REPORT_END, Effect.CLOSE),
    _row("D", _R, Event.WATCH_ENDED, None),
    _row("E", _R, {Event.CRASHED, Event.CRASHED_AGAIN}, None, Effect.ANSWER_CRASH),
)
"""Every transition there is."""

BEGUN_BY: dict[Effect, Awaited] = {
    Effect.ARM_SAMPLE: Awaited.SAMPLE,
    Effect.DUMP_HANG: Awaited.HANG_DUMP,
    Effect.EXAMINE_HANG: Awaited.HANG_EXAMINATION,
    Effect.DUMP_CRASH: Awaited.CRASH_DUMP,
    Effect.EXAMINE_CRASH: Awaited.CRASH_EXAMINATION,
    Effect.COLLECT_STATUS: Awaited.STATUS,
    Effect.ARM_PATIENCE: Awaited.PATIENCE,
    Effect.STORE_END: Awaited.STORE,
}
"""What an effect begins, and so has to be awaited."""

ANSWERED_BY: dict[Event, Awaited] = {
    Event.SAMPLED: Awaited.SAMPLE,
    Event.HANG_DUMPED: Awaited.HANG_DUMP,
    Event.HANG_EXAMINED: Awaited.HANG_EXAMINATION,
    Event.CRASH_DUMPED: Awaited.CRASH_DUMP,
    Event.CRASH_NOT_DUMPED: Awaited.CRASH_DUMP,
    Event.CRASH_EXAMINED: Awaited.CRASH_EXAMINATION,
    Event.EXIT_DUMPED: Awaited.EXIT_DUMP,
    Event.STATUS_KNOWN: Awaited.STATUS,
    Event.PATIENCE_OVER: Awaited.PATIENCE,
    Event.STORED: Awaited.STORE,
}
"""The events that are answers; each comes once, and only where it is awaited."""

_CANCELLED_BY: dict[Effect, frozenset[Awaited]] = {
    Effect.DISARM_SAMPLE: frozenset({Awaited.SAMPLE}),
    Effect.DISARM_PATIENCE: frozenset({Awaited.PATIENCE}),
    Effect.CANCEL_EXAMINATION: frozenset({Awaited.HANG_EXAMINATION}),
    Effect.CANCEL_WORK: frozenset(Awaited) - {Awaited.SAMPLE, Awaited.PATIENCE, Awaited.STORE},
}

Table = dict[tuple[Phase, Event], Transition]


def make_table(transitions: tuple[Transition, ...]) -> Table:
    """The transitions by phase and event."""
    return {
        (phase, event): transition
        for transition in transitions
        for phase in transition.phases
        for event in transition.events
    }


_TABLE = make_table(TRANSITIONS)


def advance(life: Life, event: Event, table: Table = _TABLE) -> tuple[Life, tuple[Effect, ...]]:
    """The state after ``event``, and what is to be done, in this order.

    Raises UnexpectedEvent where the table has no transition, or for an answer that is not awaited.
    """
    transition = table.get((life.phase, event))
    answered = ANSWERED_BY.get(event)
    if transition is None or (answered is not None and answered not in life.awaited):
        raise UnexpectedEvent(f"{event} in phase {life.phase}", why="there is no such transition")
    awaited = life.awaited - {answered} if answered is not None else life.awaited
    phase = transition.target or life.phase
    effects = transition.effects
    is_end_requested = life.is_end_requested or event is Event.END_REQUESTED
    if event is Event.END_REQUESTED and life.is_end_signalled:
        effects = ()
    elif phase is Phase.WATCHED and is_end_requested and not life.is_end_signalled:
        # An inquiry is not disturbed: a request that came during it was put off until now.
        put_off = () if event is Event.END_REQUESTED else _END_EFFECTS
        effects = (*effects, *put_off)
    for effect in effects:
        awaited -= _CANCELLED_BY.get(effect, frozenset())
        if effect in BEGUN_BY:
            awaited |= {BEGUN_BY[effect]}
    after = Life(
        phase,
        awaited,
        is_end_requested,
        life.is_end_signalled or Effect.SIGNAL_END in effects,
    )
    if phase is Phase.EXITING and not awaited:
        after, last = advance(after, Event.NOTHING_AWAITED, table)
        effects = (*effects, *last)
    return after, effects
