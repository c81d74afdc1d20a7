"""One heap for everything that is due at a time: samples, retries, deadlines, periodic tasks."""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Callable, Hashable, Iterator

Call = Callable[[int], None]
"""call(now_ns)"""


class Timers:
    """Calls by key. Rearming a key replaces its previous timer; the stale heap entry is skipped when it
    comes up. Times are CLOCK_MONOTONIC nanoseconds."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int, Hashable]] = []
        self._armed: dict[Hashable, tuple[int, Call]] = {}
        self._sequence = itertools.count()
        """Keys need not be comparable; timers due together fire in the order they were armed."""

    def __len__(self) -> int:
        return len(self._armed)

    def __contains__(self, key: Hashable) -> bool:
        return key in self._armed

    def arm(self, key: Hashable, due_ns: int, call: Call) -> None:
        """Have ``call`` called at ``due_ns``, once."""
        known = self._armed.get(key)
        self._armed[key] = (due_ns, call)
        if known is None or known[0] != due_ns:
            heapq.heappush(self._heap, (due_ns, next(self._sequence), key))

    def disarm(self, key: Hashable) -> None:
        """No effect if it was not armed."""
        self._armed.pop(key, None)

    def call_later(self, due_ns: int, call: Call) -> None:
        """The same under a unique key, for what is never disarmed."""
        self.arm(object(), due_ns, call)

    def call_every(self, interval_ns: int, first_ns: int, call: Call) -> None:
        """Repeatedly, ``interval_ns`` after the last time; missed calls are not made up for."""
        key = object()

        def repeat(now_ns: int) -> None:
            self.arm(key, now_ns + interval_ns, repeat)
            call(now_ns)

        self.arm(key, first_ns, repeat)

    def next_due_ns(self) -> int | None:
        """The earliest deadline, or None when nothing is armed."""
        while self._heap:
            due_ns, _, key = self._heap[0]
            armed = self._armed.get(key)
            if armed is not None and armed[0] == due_ns:
                return due_ns
            heapq.heappop(self._heap)
        return None

    def take_due(self, now_ns: int) -> Iterator[Call]:
        """Every call that is due; each is disarmed as it is returned."""
        while (due_ns := self.next_due_ns()) is not None and due_ns <= now_ns:
            _, _, key = heapq.heappop(self._heap)
            yield self._armed.pop(key)[1]
