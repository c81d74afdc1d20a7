"""How long have tasks of a runtime, such as goroutines, waited for a lock? That is mentioned, once.

They have no thread whose time the system counts. What a look finds in the same state as before has
probably not run in between: a goroutine counts its runs in a byte, so that one look in 256 is wrong. So
several must agree, and only what they agree on is mentioned.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, replace

from perimortem.model.stuck import StuckTasks

_LOOKS_LEAST = 4
"""Of a million healthy tasks one in 16 would be taken for stuck by chance."""
_TASKS_MAX = 10_000
_MENTIONED_MAX = 1000
_PAUSE_MOST_NS = 600_000_000_000

Mention = Callable[[int, str], None]
"""mention(pid, text)"""


@dataclass(frozen=True)
class _Seen:
    """One task that looks have found in the same state."""

    since_ns: int
    looks: int
    name: str
    place: tuple[int, str, str]
    """The process (pid), where, and for what: mentioned once."""


class TaskWatch:
    """What the looks of a monitor find."""

    def __init__(self, after_ns: int, mention: Mention) -> None:
        """``after_ns``: how long such a wait is nothing to mention; 0: it never is."""
        self._after_ns = after_ns
        self._mention = mention
        self._seen: dict[tuple[int, tuple[int, ...]], _Seen] = {}
        self._mentioned: set[tuple[int, str, str]] = set()
        self._looked_ns = 0
        self._pause_ns = after_ns // (_LOOKS_LEAST - 1)

    def take(self, found: Iterable[StuckTasks], now_ns: int) -> None:
        """All that a look has found, which began at this time."""
        if not self._after_ns:
            return
        had_some = self.due_ns() is not None
        self._seen = self._compare(found, now_ns)
        self._looked_ns = now_ns
        if any(one.looks > 1 for one in self._list_candidates()):
            self._pause_ns = self._after_ns // (_LOOKS_LEAST - 1)
        elif had_some:  # where locks are only passed on, there are others at each look
            self._pause_ns = min(2 * self._pause_ns, _PAUSE_MOST_NS)
        lasting = [
            one
            for one in self._list_candidates()
            if one.looks >= _LOOKS_LEAST and now_ns - one.since_ns >= self._after_ns
        ]
        for place in dict.fromkeys(one.place for one in lasting):
            if len(self._mentioned) < _MENTIONED_MAX:
                self._mentioned.add(place)
                names = [one.name for one in lasting if one.place == place]
                pid, where, what = place
                self._mention(pid, _describe(names, where, what))

    def due_ns(self) -> int | None:
        """When another look may find that one has waited for long enough; None if there is none."""
        has_candidates = len(self._mentioned) < _MENTIONED_MAX and self._list_candidates()
        return self._looked_ns + self._pause_ns if has_candidates else None

    def _list_candidates(self) -> list[_Seen]:
        return [one for one in self._seen.values() if one.place not in self._mentioned]

    def _compare(
        self, found: Iterable[StuckTasks], now_ns: int
    ) -> dict[tuple[int, tuple[int, ...]], _Seen]:
        seen: dict[tuple[int, tuple[int, ...]], _Seen] = {}
        for tasks in found:
            place = (tasks.pid, tasks.place, tasks.text)
            for name, key in tasks.tasks[: _TASKS_MAX - len(seen)]:
                known = self._seen.get((tasks.pid, key))
                seen[tasks.pid, key] = (
                    replace(known, looks=known.looks + 1)
                    if known is not None
                    else _Seen(now_ns, 1, name, place)
                )
        return seen


def _describe(names: list[str], place: str, what: str) -> str:
    from perimortem.report.waits import describe_tasks  # few programs have such

    return describe_tasks(names, place, what)
