"""Has any thread of the watched processes stopped for ever? Then its process is hung.

A look begins when a thread has waited for the threshold, even if others have run. What has not run since
the last look is looked at again more and more seldom: only others can have changed what it waits for.
"""

from __future__ import annotations

from collections.abc import Callable

from perimortem.beats.progress import Progress
from perimortem.hangs.policy import SECOND_NS, WatchPolicy
from perimortem.model.fact import Fact, FactCode, derived
from perimortem.model.stuck import Grade, LookAnswer, StuckThreads
from perimortem.monitor.base import Base
from perimortem.monitor.looks import PATIENCE_S
from perimortem.monitor.target import Target
from perimortem.monitor.task_watch import TaskWatch

_AGAIN_LEAST_NS = 30 * SECOND_NS
_AGAIN_MOST_NS = 600 * SECOND_NS
_TRIES = 3
_TRY_AGAIN_NS = 3 * SECOND_NS
_PROCESSES_MAX = 2000
_MENTIONED_MAX = 1000
_SOURCE = "waits"

Mention = Callable[[Target, Fact], None]


class DeadlockWatch:
    """Over the targets that have the heartbeat ``progress``."""

    def __init__(self, base: Base, policy: WatchPolicy, mention: Mention) -> None:
        """``mention``: called with what is only suspicious, once for the same threads."""
        self._targets = base.targets
        self._looks = base.looks
        self._clock = base.clock
        self._policy = policy
        self._mention = mention
        self._threshold_ns = policy.progress_threshold_ns
        self._known: set[int] = set()
        """The threads that waited at one of the looks."""
        self._pending: list[tuple[Target, Progress, StuckThreads]] = []
        """What the last look found among threads that had not waited for long enough."""
        self._looked_ns = 0
        self._tries_left = 0
        """Looks that follow soon: a thread that wakes and waits again may have run at the others."""
        self._again_ns = 0
        self._pause_ns = _AGAIN_LEAST_NS
        self._timers = base.timers
        self._mentioned: set[frozenset[int]] = set()
        self._tasks = TaskWatch(policy.quiet_after_ns, self._mention_tasks)
        self._has_failed = False

    def begin(self) -> None:
        """From now on, as long as the loop runs."""
        now_ns = self._clock.monotonic_ns()
        self._timers.call_every(self._policy.progress_interval_ns, now_ns, self._go_round)

    def _go_round(self, now_ns: int) -> None:
        waiting: set[int] = set()
        fresh: set[int] = set()
        """Those that did not wait yet when the last look began."""
        retrying: set[int] = set()
        alive: set[int] = set()
        has_moved = False
        """Threads of a deadlock have run: only a look shows whether they wait again."""
        for target, progress in self._list_watched():
            alive.update(progress.threads.slices)
            found = progress.threads.list_waiting(now_ns, self._threshold_ns)
            if progress.deadlock is not None:
                has_moved |= bool(_list_moved(progress, found))
                if not found & progress.deadlock.tids:
                    self._clear(target, progress, now_ns)
            waiting |= found
            fresh |= found - progress.threads.list_waiting(now_ns, now_ns - self._looked_ns)
            retrying |= progress.threads.list_retrying(now_ns, self._threshold_ns)
        # A look may have missed those that wake only to wait again.
        self._known = (self._known & alive) | (waiting - fresh - retrying)
        if self._looks.is_busy or not (waiting or has_moved):
            return
        if self._is_due(fresh | (retrying - self._known), now_ns, has_moved=has_moved):
            if retrying - self._known:
                self._tries_left = _TRIES
            self._look(waiting, now_ns, has_changed=bool(fresh))

    def _is_due(self, fresh: set[int], now_ns: int, *, has_moved: bool) -> bool:
        if fresh - self._known or any(self._is_telling(*one, now_ns) for one in self._pending):
            return True
        tasks_due_ns = self._tasks.due_ns()
        if tasks_due_ns is not None and now_ns >= tasks_due_ns:
            return True
        if now_ns >= self._looked_ns + _TRY_AGAIN_NS:
            if has_moved:
                return True
            if self._tries_left:
                self._tries_left -= 1
                return True
        return now_ns >= (self._looked_ns + _AGAIN_LEAST_NS if fresh else self._again_ns)

    def _look(self, waiting: set[int], now_ns: int, *, has_changed: bool) -> None:
        self._pause_ns = _AGAIN_LEAST_NS if has_changed else min(2 * self._pause_ns, _AGAIN_MOST_NS)
        self._looked_ns, self._again_ns = now_ns, now_ns + self._pause_ns
        self._known |= waiting
        self._pending = []
        pids = [target.pid for target, _ in self._list_watched()][:_PROCESSES_MAX]
        self._looks.begin(pids, self._take)

    def _take(self, answer: LookAnswer | None) -> None:
        if answer is None:
            self._note_failure()
            return
        now_ns = self._clock.monotonic_ns()
        found = answer.found
        self._tasks.take(answer.tasks, self._looked_ns)
        watched = {target.pid: (target, progress) for target, progress in self._list_watched()}
        proven = {tid for stuck in found if stuck.grade is Grade.PROVEN for tid in stuck.tids}
        for stuck in found:
            held = next((watched[pid] for pid in stuck.pids if pid in watched), None)
            if held is not None:
                self._take_one(*held, stuck, now_ns)
        for target, progress in watched.values():
            if progress.deadlock is None or progress.deadlock.tids & proven:
                continue
            # Who wakes only to wait again may have been awake: that it was not found proves nothing.
            if _list_moved(progress, progress.threads.list_waiting(now_ns, self._threshold_ns)):
                self._clear(target, progress, now_ns)

    def _take_one(
        self, target: Target, progress: Progress, stuck: StuckThreads, now_ns: int
    ) -> None:
        if not self._is_telling(target, progress, stuck, now_ns):
            self._pending.append((target, progress, stuck))
        elif stuck.grade is Grade.PROVEN:
            progress.note_deadlock(stuck, now_ns)
            self._targets.sample_at(target, now_ns)
        elif len(self._mentioned) < _MENTIONED_MAX:
            self._mentioned.add(stuck.tids)
            self._say(target, stuck.text, self._least_ns(stuck))

    def _mention_tasks(self, pid: int, text: str) -> None:
        target = next((target for target, _ in self._list_watched() if target.pid == pid), None)
        if target is not None:
            self._say(target, text, self._policy.quiet_after_ns)

    def _say(self, target: Target, text: str, for_ns: int) -> None:
        fact = derived(FactCode.QUIET, _SOURCE, text=text, for_s=for_ns / SECOND_NS)
        target.note(fact)
        self._mention(target, fact)

    def _clear(self, target: Target, progress: Progress, now_ns: int) -> None:
        """What it was stuck in is over."""
        progress.note_deadlock(None, now_ns)
        self._targets.sample_at(target, now_ns)

    def _is_telling(
        self, target: Target, progress: Progress, stuck: StuckThreads, now_ns: int
    ) -> bool:
        """It has lasted for long enough, and is not known yet."""
        threads = progress.threads
        if not target.is_alive or not threads.list_waiting(now_ns, self._threshold_ns) & stuck.tids:
            return False
        if stuck.grade is Grade.PROVEN:
            return True
        after_ns = self._policy.quiet_after_ns
        if not after_ns or stuck.tids in self._mentioned:
            return False
        if stuck.grade is Grade.ASSUMED:
            return True
        if stuck.grade in (Grade.LOCK, Grade.UNOWNED):
            has_lasted = threads.list_waiting(now_ns, after_ns) >= stuck.tids
            return has_lasted and (
                stuck.grade is Grade.LOCK or not threads.is_still(now_ns, after_ns)
            )
        return all(other.threads.is_still(now_ns, after_ns) for _, other in self._list_watched())

    def _least_ns(self, stuck: StuckThreads) -> int:
        """For how long it lasts before it is mentioned; of some that makes it no more suspicious."""
        return 0 if stuck.grade is Grade.ASSUMED else self._policy.quiet_after_ns

    def _note_failure(self) -> None:
        """In the accounts of those that stood still; once."""
        if self._has_failed:
            return
        self._has_failed = True
        now_ns = self._clock.monotonic_ns()
        for target, progress in self._list_watched():
            if progress.threads.list_waiting(now_ns, self._threshold_ns):
                target.note(derived(FactCode.LOOK_FAILED, _SOURCE, after_s=PATIENCE_S))

    def _list_watched(self) -> list[tuple[Target, Progress]]:
        return [
            (target, source)
            for target in self._targets
            if target.is_alive and target.life.is_idle
            for source in target.sources
            if isinstance(source, Progress)
        ]


def _list_moved(progress: Progress, waiting: set[int]) -> frozenset[int]:
    """The threads of its deadlock that live, and have done something else than to wait."""
    assert progress.deadlock is not None
    return (progress.deadlock.tids & progress.threads.slices.keys()) - waiting
