"""Long work, done in short turns of the loop: what happens meanwhile is noticed in between."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator

from perimortem.monitor.timers import Timers

TURN_NS = 10_000_000
"""Arbitrary."""

Steps = Iterator[bool]
"""Each step, of a millisecond or so, says whether it did anything."""


class Turns:
    """Several works take their steps by turns, for a short time in each turn of the loop."""

    def __init__(self, timers: Timers, now_ns: Callable[[], int]) -> None:
        self._timers = timers
        self._now_ns = now_ns
        self._works: dict[Hashable, Steps] = {}
        self.is_finishing = False
        """The watch is over: what is known is still worked on, and nothing is added to it."""

    @property
    def has_work(self) -> bool:
        return bool(self._works)

    def take(self, key: Hashable, steps: Steps) -> None:
        """Do this soon, unless there is still work under that key."""
        if not self._works:
            self._timers.call_later(self._now_ns(), self._work)
        self._works.setdefault(key, steps)

    def finish(self) -> None:
        self.is_finishing = True

    def _work(self, now_ns: int) -> None:
        until_ns = self._now_ns() + TURN_NS
        idle_count = 0
        while idle_count < len(self._works) and self._now_ns() < until_ns:
            key = next(iter(self._works))
            did_work = next(self._works[key], None)
            steps = self._works.pop(key)
            if did_work is not None:
                self._works[key] = steps
                idle_count = 0 if did_work else idle_count + 1
        if self._works:
            self._timers.call_later(now_ns + 1, self._work)  # in the next turn
