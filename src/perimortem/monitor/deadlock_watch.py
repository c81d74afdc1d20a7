"""Has any thread of the watched processes stopped for ever? Then its process is hung.

A look begins when a thread has not run for the threshold, even if others have. What rests is looked
at again more and more seldom: only others can have changed what it waits for.
"""

from __future__ import annotations

from perimortem.beats.progress import Progress
from perimortem.hangs.policy import WatchPolicy
from perimortem.model.stuck import StuckThreads
from perimortem.monitor.base import Base
from perimortem.monitor.target import Target

_ROUND_MOST_NS = 2_500_000_000
_AGAIN_LEAST_NS = 30_000_000_000
_AGAIN_MOST_NS = 600_000_000_000
_PROCESSES_MAX = 2000


class DeadlockWatch:
    """Over the targets that have the heartbeat ``progress``."""

    def __init__(self, base: Base, policy: WatchPolicy) -> None:
        self._targets = base.targets
        self._looks = base.looks
        self._clock = base.clock
        self._threshold_ns = policy.threshold_of_ns.get(Progress.name, policy.threshold_ns)
        self._looked_at: frozenset[int] = frozenset()
        """The threads that were still at the last look."""
        self._again_ns = 0
        self._pause_ns = _AGAIN_LEAST_NS
        self._timers = base.timers

    def begin(self) -> None:
        """From now on, as long as the loop runs."""
        interval_ns = min(self._threshold_ns // 4, _ROUND_MOST_NS)
        self._timers.call_every(interval_ns, self._clock.monotonic_ns(), self._go_round)

    def _go_round(self, now_ns: int) -> None:
        still: set[int] = set()
        for target, progress in self._list_watched():
            found = progress.list_still(now_ns, self._threshold_ns)
            if progress.deadlock is not None and not found & progress.deadlock.tids:
                progress.note_deadlock(None, now_ns)
                self._targets.sample_at(target, now_ns)
            still |= found
        has_new = not still <= self._looked_at
        if not still or self._looks.is_busy or not (has_new or now_ns >= self._again_ns):
            return
        self._pause_ns = _AGAIN_LEAST_NS if has_new else min(2 * self._pause_ns, _AGAIN_MOST_NS)
        self._again_ns = now_ns + self._pause_ns
        self._looked_at = frozenset(still)
        pids = [target.pid for target, _ in self._list_watched()][:_PROCESSES_MAX]
        self._looks.begin(pids, self._take)

    def _take(self, found: list[StuckThreads]) -> None:
        now_ns = self._clock.monotonic_ns()
        watched = {target.pid: (target, progress) for target, progress in self._list_watched()}
        for stuck in found:
            held = next((watched[pid] for pid in stuck.pids if pid in watched), None)
            if held is None:
                continue
            target, progress = held
            if progress.list_still(now_ns, self._threshold_ns) & stuck.tids:
                progress.note_deadlock(stuck, now_ns)
                self._targets.sample_at(target, now_ns)

    def _list_watched(self) -> list[tuple[Target, Progress]]:
        return [
            (target, source)
            for target in self._targets
            if target.is_alive and target.life.is_idle
            for source in target.sources
            if isinstance(source, Progress)
        ]
