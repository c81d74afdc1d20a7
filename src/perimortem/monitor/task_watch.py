"""How long have tasks of a runtime, such as goroutines, waited for a lock? That is mentioned, once.

They have no thread whose time the system counts: what two looks find in the same state has not run in
between.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from perimortem.model.stuck import StuckTasks

_TASKS_MAX = 10_000
_MENTIONED_MAX = 1000

Mention = Callable[[int, str], None]
"""mention(pid, text)"""


@dataclass(frozen=True)
class _Seen:
    since_ns: int
    place: tuple[int, str]
    """The process (pid), and what is mentioned once."""


class TaskWatch:
    """What the looks of a monitor find."""

    def __init__(self, after_ns: int, mention: Mention) -> None:
        """``after_ns``: how long such a wait is nothing to mention; 0: it never is."""
        self._after_ns = after_ns
        self._mention = mention
        self._seen: dict[tuple[int, tuple[int, ...]], _Seen] = {}
        self._mentioned: set[tuple[int, str]] = set()

    def take(self, found: Iterable[StuckTasks], now_ns: int) -> None:
        """All that a look has found, which began at this time."""
        if not self._after_ns:
            return
        seen: dict[tuple[int, tuple[int, ...]], _Seen] = {}
        for tasks in found:
            place = (tasks.pid, tasks.what)
            for key in list(tasks.keys)[: _TASKS_MAX - len(seen)]:
                known = self._seen.get((tasks.pid, key))
                seen[tasks.pid, key] = known or _Seen(now_ns, place)
            has_lasted = any(
                now_ns - one.since_ns >= self._after_ns
                for one in seen.values()
                if one.place == place
            )
            if (
                has_lasted
                and place not in self._mentioned
                and len(self._mentioned) < _MENTIONED_MAX
            ):
                self._mentioned.add(place)
                self._mention(tasks.pid, tasks.text)
        self._seen = seen

    def due_ns(self) -> int | None:
        """When another look may find that one has waited for long enough; None if there is none."""
        return min(
            (
                one.since_ns + self._after_ns
                for one in self._seen.values()
                if one.place not in self._mentioned
            ),
            default=None,
        )
