"""The states of a target under watch and the lettered transitions between them (docs/states.md)."""

from __future__ import annotations

from enum import StrEnum


class State(StrEnum):
    """What the monitor thinks of a target now."""

    STARTING = "starting"
    ALIVE = "alive"
    LATE = "late"
    HUNG = "hung"
    RECOVERED = "recovered"
    ENDED = "ended"


TRANSITIONS: dict[str, tuple[State, State]] = {
    "a": (State.STARTING, State.ALIVE),
    "b": (State.STARTING, State.LATE),
    "c": (State.ALIVE, State.LATE),
    "d": (State.LATE, State.ALIVE),
    "e": (State.LATE, State.HUNG),
    "f": (State.HUNG, State.RECOVERED),
    "g": (State.RECOVERED, State.ALIVE),
    "h": (State.RECOVERED, State.LATE),
    "i": (State.STARTING, State.ENDED),
    "j": (State.ALIVE, State.ENDED),
    "k": (State.LATE, State.ENDED),
    "l": (State.HUNG, State.ENDED),
    "m": (State.RECOVERED, State.ENDED),
    "n": (State.LATE, State.STARTING),
}
"""Every transition there is; ``TargetWatch`` refuses any other."""

LETTERS = {pair: letter for letter, pair in TRANSITIONS.items()}
