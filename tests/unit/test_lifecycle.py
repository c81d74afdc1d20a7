"""The life cycle of a target: named sequences, every order of events, and the drawing in the docs."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace
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
    "stored": Event.STORED,
}


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
        was_exiting = life.phase is not Phase.STORING and event is not Event.WATCH_ENDED
        life, caused = advance(life, event)
        if life.phase is Phase.STORING and was_exiting:
            letters += TABLE[Phase.EXITING, Event.NOTHING_AWAITED].letter
        effects += caused
    return Played(life, letters, effects)


def read_sequences() -> list[object]:
    found = []
    life = Life()
    for line in (Path(__file__).with_name("lifecycle_sequences.txt")).read_text().splitlines():
        if line.startswith("# traced to the exit"):
            life = Life(awaited=frozenset({Awaited.EXIT_DUMP}))
        if not line or line.startswith("#"):
            continue
        name, rest = line.split(": ", 1)
        words, letters, phase = (part.strip() for part in rest.split(";"))
        events = [WORDS[word] for word in words.split()]
        found.append(pytest.param(life, events, letters, Phase(phase), id=name))
    return found


@pytest.mark.parametrize(("life", "events", "letters", "phase"), read_sequences())
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
    for phase in RUNNING | {Phase.EXITING, Phase.STORING}:
        with pytest.raises(UnexpectedEvent):
            advance(Life(phase), event)


# Every order of events


@dataclass(frozen=True)
class World:
    """One target and what its surroundings may do to it next."""

    life: Life = field(default_factory=Life)
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
    """In every case, its exit and the answers that are due lead to a report."""
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
