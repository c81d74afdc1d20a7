"""A hang, from its detection to its end."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class StoppedHeartbeat:
    """A heartbeat that stopped: its last beat (CLOCK_MONOTONIC) and the limit it missed."""

    name: str
    last_beat_ns: int
    threshold_ns: int
    beaten: bool


@dataclass(frozen=True)
class Hang:
    """One hang; ``recovered_ns`` is None while it lasts, or if the process ended in it."""

    stopped: tuple[StoppedHeartbeat, ...]
    still_beating: tuple[str, ...]
    detected_ns: int
    recovered_ns: int | None
