"""Did the monitor itself sleep? Then it must not blame a target for missed beats."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.clock import Clock

LATENESS_LIMIT_NS = 500_000_000
"""A wake-up later than this means that the machine, not the target, was stopped. Arbitrary."""


@dataclass(frozen=True)
class Rebase:
    """Why every deadline must be restarted."""

    reason: str
    lost_ns: int


class WakeupDelayDetector:
    """Compares each wake-up with the time it was due, and the two clocks with each other."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._offset_ns = clock.boottime_ns() - clock.monotonic_ns()

    def judge(self, due_ns: int | None, now_ns: int) -> Rebase | None:
        """``due_ns``: the time this wake-up was due; None if it was for an event only."""
        offset_ns = self._clock.boottime_ns() - self._clock.monotonic_ns()
        suspended_ns = offset_ns - self._offset_ns
        self._offset_ns = offset_ns
        if suspended_ns > LATENESS_LIMIT_NS:
            return Rebase("the machine was suspended", suspended_ns)
        if due_ns is not None and now_ns - due_ns > LATENESS_LIMIT_NS:
            return Rebase("the monitor was stopped or starved of CPU", now_ns - due_ns)
        return None
