"""Work in progress for each target: timers, dumps, examinations; each can be cancelled."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from perimortem.examine.protocol import Question
from perimortem.model.process import ProcessRef
from perimortem.monitor.base import Base
from perimortem.monitor.examination_jobs import Done, submit_examination
from perimortem.monitor.lifecycle import Awaited, Event
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.sandbox.confinement import User

SETTLE_NS = 500_000_000
"""For this long after we release a process, its activity may still be our doing. Arbitrary."""


@dataclass(frozen=True)
class _Key:
    """One pending operation for one target."""

    ref: ProcessRef
    awaited: Awaited


class Work:
    """Begins, cancels and posts. Each key has at most one operation at a time."""

    def __init__(self, base: Base, settings: Settings) -> None:
        self._base = base
        self._deadline_s = settings.examine_deadline_s
        self._memory_bytes = settings.examine_memory_bytes
        self._cancels: dict[_Key, Callable[[], None]] = {}

    def post(self, target: Target, event: Event) -> None:
        """Something has happened to it."""
        self._base.targets.post(target, event)

    def arm(
        self, target: Target, awaited: Awaited, delay_ns: int, call: Callable[[Target], None]
    ) -> None:
        """Have ``call`` called once, ``delay_ns`` from now."""
        due_ns = self._base.clock.monotonic_ns() + delay_ns
        self._base.timers.arm(_Key(target.ref, awaited), due_ns, lambda _now_ns: call(target))

    def examine(
        self,
        target: Target,
        awaited: Awaited,
        process: ProcessRef,
        dump: Path | None,
        user: User | None,
        done: Done,
    ) -> None:
        """Have ``process``, or a dump of it, examined for ``target`` with the rights of ``user``."""
        pool, deadline_s = self._base.pool, self._deadline_s
        what = process if dump is None else dump
        question = Question(what, self._memory_bytes, math.ceil(deadline_s), user)
        job = submit_examination(pool, process, question, done, deadline_s=deadline_s)
        self.track(target, awaited, lambda: pool.cancel(job))

    def track(self, target: Target, awaited: Awaited, cancel: Callable[[], None]) -> None:
        """``cancel`` ends what was begun."""
        self._cancels[_Key(target.ref, awaited)] = cancel

    def cancel(self, target: Target, awaited: Awaited) -> None:
        """Cancels it; it may already be over."""
        key = _Key(target.ref, awaited)
        self._base.timers.disarm(key)
        cancel = self._cancels.pop(key, None)
        if cancel is not None:
            cancel()

    def cancel_all(self, target: Target) -> None:
        for awaited in Awaited:
            self.cancel(target, awaited)

    def forget(self, target: Target) -> None:
        """Its life cycle is over, and with it all that was begun."""
        for awaited in Awaited:
            self._cancels.pop(_Key(target.ref, awaited), None)

    def is_alive(self, ref: ProcessRef) -> bool:
        """A target with this identity is watched, and its end has not been seen."""
        found = self._base.targets.get(ref)
        return found is not None and found.is_alive

    def let_settle(self, target: Target) -> None:
        """We held it until now: its heartbeats count from now."""
        now_ns = self._base.clock.monotonic_ns()
        target.disregard_until(now_ns + SETTLE_NS, now_ns)
        if target.is_alive:
            self._base.targets.sample_at(target, now_ns)
