"""The life cycle of a target: named sequences, every order of events, and the drawing in the docs."""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from perimortem.monitor.lifecycle import (
    ANSWERED_BY,
    BEGUN_BY,
    RUNNING,
    TRANSITIONS,
    Awaited,
    Effect,
    Event,
    Life,
    Phase,
    UnexpectedEvent,
    advance,
    make_table,
)

ROOT = Path(__file__).resolve().parent.parent.parent
TABLE = make_table(TRANSITIONS)
WORDS = {
    "hang": Event.HANG_DETECTED,
    "recovered": Event.HANG_RECOVERED,
    "sampled": Event.SAMPLED,
    "hang-dumped": Event.HANG_DUMPED,
    "hang-examined": Event.HANG_EXAMINED,
    "crash": Event.CRASHED,
    "crash-again": Event.CRASHED_AGAIN,
    "crash-dumped": Event.CRASH_DUMPED,
    "crash-undumped": Event.CRASH_NOT_DUMPED,
    "crash-examined": Event.CRASH_EXAMINED,
    "exit-dumped": Event.EXIT_DUMPED,
    "end!": Event.END_REQUESTED,
    "patience": Event.PATIENCE_OVER,
    "risk": Event.MONITOR_AT_RISK,
    "exited": Event.EXITED,
    "status": Event.STATUS_KNOWN,
    "left": Event.LEFT,
    "stop": Event.WATCH_ENDED,
}

# name: what happens; the letters of the transitions; the phase at the end
SEQUENCES = """
a clean exit: exited status; rsx; reported
a hang that is examined: hang sampled hang-dumped hang-examined; abcd; watched
a hang that recovers: hang sampled hang-dumped hang-examined recovered; abcde; watched
two hangs of two heartbeats, one after the other: hang sampled hang-dumped hang-examined recovered hang sampled hang-dumped hang-examined; abcdeabcd; watched
a hang in which it ends: hang sampled hang-dumped hang-examined exited status; abcdrsx; reported
it recovers just before the end: hang sampled hang-dumped hang-examined recovered exited status; abcdersx; reported
it ends before the second sample: hang exited status; arsx; reported
it ends while the hang is dumped, the status first: hang sampled exited status hang-dumped; abrsvx; reported
it ends while the hang is dumped, the dump first: hang sampled exited hang-dumped status; abrvsx; reported
it ends while the hang is examined, the status first: hang sampled hang-dumped exited status hang-examined; abcrsvx; reported
it ends while the hang is examined, the examination first: hang sampled hang-dumped exited hang-examined status; abcrvsx; reported
a crash: crash crash-dumped exited status crash-examined; fgrsvx; reported
a crash whose examination is quicker than its end: crash crash-dumped crash-examined exited status; fgirsx; reported
a crash without a dump: crash crash-undumped exited status; fhrsx; reported
a crash that the program survives: crash crash-dumped crash-examined; fgi; watched
a crash without a dump that it survives: crash crash-undumped; fh; watched
it is killed while its crash is dumped: crash exited status crash-dumped crash-examined; frstvx; reported
it is killed while its crash is dumped, the dump first: crash exited crash-dumped status crash-examined; frtsvx; reported
it is killed while its crash is dumped, and there is no dump: crash exited status crash-undumped; frsux; reported
it is killed, no dump, then the status: crash exited crash-undumped status; frusx; reported
examined before the status is known: crash crash-dumped exited crash-examined status; fgrvsx; reported
a client that crashes twice, the second while the first is dumped: crash crash-again crash-dumped exited status crash-examined; fkgrsvx; reported
a client that crashes twice, the second while the first is examined: crash crash-dumped crash-again crash-examined exited status; fgjirsx; reported
a client that crashes twice, the second after all is done: crash crash-dumped crash-examined crash-again exited status; fgijrsx; reported
a client that crashes again after there was no dump: crash crash-undumped crash-again exited status; fhjrsx; reported
a second crash report that arrives after its end: crash crash-undumped exited crash-again status; fhrusx; reported
a crash report that arrives after its end: exited crash status; rusx; reported
a crash report that arrives with its end, after a dump: crash crash-dumped exited crash-again crash-examined status; fgruvsx; reported
hang then crash: hang sampled hang-dumped hang-examined crash crash-dumped exited status crash-examined; abcdfgrsvx; reported
a crash before the second sample of a hang: hang crash crash-dumped exited status crash-examined; afgrsvx; reported
a crash while the hang is dumped: hang sampled crash hang-dumped crash-dumped exited status crash-examined; abflgrsvx; reported
a crash while the hang is dumped, both dumps after its end: hang sampled crash exited hang-dumped crash-dumped crash-examined status; abfrvtvsx; reported
the dump of a hang comes after that of the crash: hang sampled crash crash-dumped hang-dumped crash-examined exited status; abfglirsx; reported
the dump of a hang comes last of all: hang sampled crash crash-dumped crash-examined hang-dumped exited status; abfgilrsx; reported
the dump of a hang comes after a crash without one: hang sampled crash crash-undumped hang-dumped exited status; abfhlrsx; reported
a crash while the hang is examined: hang sampled hang-dumped crash crash-dumped exited status crash-examined; abcfgrsvx; reported
a crash that is survived, then a hang: crash crash-dumped crash-examined hang sampled hang-dumped hang-examined; fgiabcd; watched
a crash that is survived, then a hang, then the end: crash crash-undumped hang sampled exited hang-dumped status; fhabrvsx; reported
a crash after a recovered hang: hang sampled hang-dumped hang-examined recovered crash crash-dumped exited status crash-examined; abcdefgrsvx; reported
a crash report again, while a hang is sampled: crash crash-undumped hang crash-again sampled; fhajb; dumping
a crash report again, while a hang is dumped: crash crash-undumped hang sampled crash-again hang-dumped; fhabjc; examining
a crash report again, while a hang is examined: crash crash-undumped hang sampled hang-dumped crash-again hang-examined; fhabcjd; watched
the policy ends a hung process: hang sampled hang-dumped hang-examined end! exited status; abcdnrsx; reported
the policy aborts, and the crash is dumped: hang sampled hang-dumped hang-examined end! crash crash-dumped exited status crash-examined; abcdnfgrsvx; reported
it does not end when asked to, and is killed: hang sampled hang-dumped hang-examined end! patience exited status; abcdnprsx; reported
patience ends while its crash is dumped: end! crash patience crash-dumped patience exited status crash-examined; nfqgqrsvx; reported
patience ends while its crash is examined: end! crash crash-dumped patience crash-examined exited status; nfgqirsx; reported
patience ends after a crash without dump: end! crash crash-undumped patience exited status; nfhprsx; reported
patience ends while a later hang is sampled: end! hang patience sampled exited status hang-dumped; napbrsvx; reported
patience ends while a later hang is dumped: end! hang sampled patience hang-dumped exited status hang-examined; nabpcrsvx; reported
patience ends while a later hang is examined: end! hang sampled hang-dumped patience hang-examined; nabcpd; watched
another's hang ends it while its own is sampled: hang end! sampled hang-dumped hang-examined; aobcd; watched
another's hang ends it while its own is dumped: hang sampled end! hang-dumped hang-examined; abocd; watched
another's hang ends it while its own is examined: hang sampled hang-dumped end! hang-examined exited status; abcodrsx; reported
another's hang ends it while it crashes: crash end! crash-dumped crash-examined exited status; fogirsx; reported
another's hang ends it while its crash is examined: crash crash-dumped end! crash-examined patience exited status; fgoiprsx; reported
another's hang ends it while it crashes without a dump: crash end! crash-undumped patience exited status; fohprsx; reported
it is asked to end while it ends: exited end! status; rwsx; reported
it recovers after it was asked to end, and is killed all the same: hang sampled hang-dumped hang-examined end! recovered patience exited status; abcdneprsx; reported
it leaves: left; y; released
it leaves while a hang is sampled: hang left; ay; released
it leaves while a hang is dumped: hang sampled left; aby; released
it leaves while a hang is examined: hang sampled hang-dumped left; abcy; released
it leaves while it crashes in another thread: crash left; fy; released
it leaves while its crash is examined: crash crash-dumped left; fgy; released
it leaves as it ends: exited left status; rwsx; reported
the watch is stopped: stop; z; released
the watch is stopped while a hang is sampled: hang stop; az; released
the watch is stopped while a hang is dumped: hang sampled stop; abz; released
the watch is stopped while a hang is examined: hang sampled hang-dumped stop; abcz; released
the watch is stopped after a hang: hang sampled hang-dumped hang-examined stop; abcdz; released
the watch is stopped while it crashes: crash stop; fz; released
the watch is stopped while its crash is examined: crash crash-dumped stop; fgz; released
the watch is stopped before the status is known: exited stop; rA; reported
the watch is stopped while the dump of an ended process is written: hang sampled exited status stop; abrsA; reported
the watch is stopped while it was to be killed: end! stop; nz; released
the console is closed: risk exited status; Brsx; reported
the console is closed during a hang's dump: hang sampled risk hang-dumped hang-examined; abBcd; watched
the console is closed while it crashes: crash risk crash-dumped exited status crash-examined; fBgrsvx; reported
the console is closed as it ends: exited risk status; rwsx; reported
"""
EXIT_CAPTURE = """
its dump at the exit comes before the status: exited exit-dumped status; rvsx; reported
its dump at the exit comes after the status: exited status exit-dumped; rsvx; reported
the worker of the exit's dump dies before the exit: exit-dumped exited status; mrsx; reported
a hang while it is traced to its exit: hang sampled hang-dumped hang-examined exited exit-dumped status; abcdrvsx; reported
a crash while it is traced to its exit: crash crash-undumped exited status exit-dumped; fhrsvx; reported
the exit's dump ends while a hang is sampled: hang exit-dumped sampled; amb; dumping
the exit's dump ends while it crashes: crash exit-dumped crash-dumped; fmg; diagnosing
the watch is stopped while its exit is awaited: stop; z; released
it is killed by the policy and dumped at its exit: end! exited exit-dumped status; nrvsx; reported
"""


@dataclass(frozen=True)
class Played:
    """What a sequence of events led to."""

    life: Life
    letters: str
    effects: tuple[Effect, ...]


def play(events: list[Event], life: Life) -> Played:
    letters, effects = "", ()
    for event in events:
        letters += TABLE[life.phase, event].letter
        life, caused = advance(life, event)
        if life.phase is Phase.REPORTED and event is not Event.WATCH_ENDED:
            letters += TABLE[Phase.EXITING, Event.NOTHING_AWAITED].letter
        effects += caused
    return Played(life, letters, effects)


def read_sequences(text: str, life: Life) -> list[object]:
    found = []
    for line in text.strip().splitlines():
        name, rest = line.split(": ", 1)
        words, letters, phase = (part.strip() for part in rest.split(";"))
        events = [WORDS[word] for word in words.split()]
        found.append(pytest.param(life, events, letters, Phase(phase), id=name))
    return found


ALL_SEQUENCES = [
    *read_sequences(SEQUENCES, Life()),
    *read_sequences(EXIT_CAPTURE, Life(awaited=frozenset({Awaited.EXIT_DUMP}))),
]


@pytest.mark.parametrize(("life", "events", "letters", "phase"), ALL_SEQUENCES)
def test_a_sequence_takes_its_letters(life, events, letters, phase):
    played = play(events, life)
    assert (played.letters, played.life.phase) == (letters, phase)
    ended = played.life.phase in (Phase.REPORTED, Phase.RELEASED)
    assert played.effects.count(Effect.CLOSE) == ended
    assert played.effects.count(Effect.REPORT_END) == (played.life.phase is Phase.REPORTED)
    if ended:
        assert played.life.awaited == frozenset()


def test_an_end_that_was_put_off_comes_with_the_end_of_the_inquiry():
    played = play([WORDS[word] for word in "hang end! sampled hang-dumped".split()], Life())
    assert Effect.SIGNAL_END not in played.effects
    _, effects = advance(played.life, Event.HANG_EXAMINED)
    assert effects[-2:] == (Effect.SIGNAL_END, Effect.ARM_PATIENCE)


def test_a_process_is_asked_to_end_once():
    """Several that hang ask for the end of their tree, each when its own examination is over."""
    played = play([WORDS[word] for word in "end! end! hang end! sampled".split()], Life())
    assert played.effects.count(Effect.SIGNAL_END) == 1
    played = play([WORDS[word] for word in "hang-dumped hang-examined".split()], played.life)
    assert Effect.SIGNAL_END not in played.effects


def test_a_process_that_was_asked_to_end_is_killed_only_when_its_crash_is_dumped():
    played = play([WORDS[word] for word in "end! crash patience".split()], Life())
    assert Effect.SIGNAL_KILL not in played.effects
    assert Awaited.PATIENCE in played.life.awaited


def test_a_crash_is_answered_before_it_is_examined():
    _, effects = advance(Life(Phase.CRASHING, frozenset({Awaited.CRASH_DUMP})), Event.CRASH_DUMPED)
    assert effects.index(Effect.ANSWER_CRASH) < effects.index(Effect.EXAMINE_CRASH)


@pytest.mark.parametrize("event", sorted(ANSWERED_BY))
def test_an_answer_that_nothing_awaits_is_refused(event):
    """A worker that lies, or answers late, changes nothing."""
    for phase in RUNNING | {Phase.EXITING}:
        with pytest.raises(UnexpectedEvent):
            advance(Life(phase), event)


# Every order of events


@dataclass(frozen=True)
class World:
    """One target and what its surroundings may do to it next."""

    life: Life = Life()
    is_hung: bool = False
    has_crashed: bool = False
    unanswered: bool = False
    """It stands in its crash handler."""
    has_ended: bool = False

    def list_events(self) -> list[Event]:
        """What can happen now."""
        if self.life.phase in (Phase.REPORTED, Phase.RELEASED):
            return []
        events = [Event.LEFT, Event.WATCH_ENDED, Event.END_REQUESTED, Event.MONITOR_AT_RISK]
        events += [event for event, what in ANSWERED_BY.items() if what in self.life.awaited]
        if not self.has_ended:
            events.append(Event.EXITED)
        if self.life.is_idle:
            events.append(Event.HANG_RECOVERED if self.is_hung else Event.HANG_DETECTED)
        events.append(Event.CRASHED_AGAIN if self.has_crashed else Event.CRASHED)
        return events

    def take(self, event, table=TABLE):
        """The world after it, and what was to be done; every promise is checked."""
        life, effects = advance(self.life, event, table)
        is_asked = event in (Event.CRASHED, Event.CRASHED_AGAIN)
        world = replace(
            self,
            life=life,
            is_hung=(self.is_hung or event is Event.HANG_DETECTED)
            and event is not Event.HANG_RECOVERED,
            has_crashed=self.has_crashed or event is Event.CRASHED,
            unanswered=(self.unanswered or is_asked) and Effect.ANSWER_CRASH not in effects,
            has_ended=self.has_ended or event is Event.EXITED,
        )
        check_effects(self, world, event, effects)
        return world, effects


def check_effects(before: World, after: World, event: Event, effects: tuple[Effect, ...]) -> None:
    """What holds for every step."""
    if after.has_ended:
        assert Effect.SIGNAL_END not in effects, "no signal after the end"
        assert Effect.SIGNAL_KILL not in effects, "no signal after the end"
    for effect, awaited in BEGUN_BY.items():
        if effect in effects and ANSWERED_BY.get(event) is not awaited:
            assert awaited not in before.life.awaited, f"{effect} was begun twice"
    is_over = after.life.phase in (Phase.REPORTED, Phase.RELEASED)
    assert effects.count(Effect.CLOSE) == is_over
    assert effects.count(Effect.REPORT_END) == (after.life.phase is Phase.REPORTED)
    if is_over:
        assert after.life.awaited == frozenset(), "work goes on after the end"
        assert not after.unanswered, "a process was left in its crash handler"
    if after.life.phase is Phase.WATCHED:
        assert not after.unanswered


STARTS = (World(), World(Life(awaited=frozenset({Awaited.EXIT_DUMP}))))


def explore(depth, table=TABLE, starts=STARTS):
    """Every order of events; returns the (phase, event) pairs that were met, and the last worlds."""
    met = set()
    worlds = set(starts)
    for _ in range(depth):
        following = set()
        for world in worlds:
            for event in world.list_events():
                met.add((world.life.phase, event))
                following.add(world.take(event, table)[0])
        worlds = following
    return met, worlds


def test_every_order_of_seven_events_keeps_every_promise():
    met, worlds = explore(7)
    cells = {cell for cell in TABLE if cell[1] is not Event.NOTHING_AWAITED}
    assert met == cells
    for world in worlds:
        reach_the_end(world)


def reach_the_end(world):
    """Whatever happened, its exit and the answers that are due lead to a report."""
    for _ in range(20):
        if world.life.phase in (Phase.REPORTED, Phase.RELEASED):
            return
        due = [e for e, what in ANSWERED_BY.items() if what in world.life.awaited]
        event = due[0] if world.has_ended else Event.EXITED
        world, _ = world.take(event)
    raise AssertionError(f"no end: {world}")


@pytest.mark.parametrize("cell", sorted(TABLE), ids=lambda cell: f"{cell[0]}-{cell[1]}")
def test_a_table_without_any_one_transition_fails(cell):
    table = {key: transition for key, transition in TABLE.items() if key != cell}
    with pytest.raises((UnexpectedEvent, KeyError)):
        explore(7, table)


def test_every_order_of_five_events_of_two_targets():
    """The end of one that hung is the end of both, as --on-hang asks: each is reported once."""
    worlds = {(World(), World())}
    for _ in range(5):
        following = set()
        for pair in worlds:
            for index, world in enumerate(pair):
                for event in world.list_events():
                    following.add(take_in_pair(pair, index, event))
        worlds = following
    for pair in worlds:
        for world in pair:
            reach_the_end(world)


def take_in_pair(pair, index, event):
    after, effects = pair[index].take(event)
    pair = tuple(after if at == index else world for at, world in enumerate(pair))
    if Effect.END_TREE in effects:
        pair = tuple(
            world.take(Event.END_REQUESTED)[0] if world.life.phase in RUNNING else world
            for world in pair
        )
    return pair


# The drawing


def test_the_documentation_has_every_transition_and_no_other():
    text = (ROOT / "docs" / "states.md").read_text()
    rows = re.findall(r"^\| ([a-zA-Z]) \| ([^|]+) \| ([^|]+) \| ([^|]+) \| ([^|]*) \|$", text, re.M)
    documented = {row[0]: tuple(part.strip() for part in row[1:]) for row in rows}
    assert documented == {t.letter: describe(t) for t in TRANSITIONS}


def describe(transition):
    phases = transition.phases
    names = "every running phase" if phases == RUNNING else ", ".join(sorted(phases))
    if len(phases) > 1 and len(RUNNING - phases) == 1 and phases < RUNNING:
        (missing,) = RUNNING - phases
        names = f"every running phase but {missing}"
    return (
        names,
        ", ".join(sorted(transition.events)),
        transition.target or "stays",
        ", ".join(transition.effects),
    )


def test_the_drawing_has_every_phase_and_every_letter_that_changes_one():
    text = (ROOT / "docs" / "states.md").read_text()
    drawing = text.split("## The life cycle of a target", 1)[1].split("```")[1]
    for phase in Phase:
        assert phase in drawing
    drawn = set(re.findall(r"\b([a-zA-Z])\b", drawing))
    assert {t.letter for t in TRANSITIONS if t.target is not None} <= drawn
