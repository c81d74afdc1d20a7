"""When to look at whom: a heap of deadlines with lazy re-arming."""

from __future__ import annotations

import heapq
from collections.abc import Iterator


class Schedule:
    """Deadlines of many targets; an old entry of a re-armed target is skipped when it comes up."""

    def __init__(self) -> None:
        self._heap: list[tuple[int, int]] = []
        self._due_ns: dict[int, int] = {}

    def arm(self, key: int, due_ns: int) -> None:
        """Look at ``key`` at ``due_ns``; replaces what was armed before."""
        if self._due_ns.get(key) != due_ns:
            self._due_ns[key] = due_ns
            heapq.heappush(self._heap, (due_ns, key))

    def disarm(self, key: int) -> None:
        self._due_ns.pop(key, None)

    def next_due_ns(self) -> int | None:
        """The earliest deadline, or None when nothing is armed."""
        while self._heap:
            due_ns, key = self._heap[0]
            if self._due_ns.get(key) == due_ns:
                return due_ns
            heapq.heappop(self._heap)
        return None

    def take_due(self, now_ns: int) -> Iterator[int]:
        """Every key whose time has come; each is disarmed as it is handed out."""
        while (due_ns := self.next_due_ns()) is not None and due_ns <= now_ns:
            _, key = heapq.heappop(self._heap)
            del self._due_ns[key]
            yield key
