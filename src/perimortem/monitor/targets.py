"""The targets of one watch, and the queue of their events."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

from perimortem.clock import Clock
from perimortem.model.process import ProcessRef
from perimortem.monitor.lifecycle import Event
from perimortem.monitor.target import Target
from perimortem.monitor.timers import Timers
from perimortem.system import Selector

_URGENT = frozenset(
    {Event.CRASHED, Event.CRASHED_AGAIN, Event.CRASH_DUMPED, Event.CRASH_NOT_DUMPED}
)
"""A process waits in its crash handler, or in the kernel, for what follows from them."""


@dataclass(frozen=True)
class SampleKey:
    """The timer at which the heartbeats of a target are sampled."""

    ref: ProcessRef


class Targets:
    """All watched processes by key. Every event of a target is posted here, and taken by the engine
    alone, in this order, but those first for which a process is waiting."""

    def __init__(self, selector: Selector, timers: Timers, clock: Clock) -> None:
        self._selector = selector
        self._timers = timers
        self._clock = clock
        self._targets: dict[ProcessRef, Target] = {}
        self._urgent: deque[tuple[Target, Event]] = deque()
        self._events: deque[tuple[Target, Event]] = deque()
        self._due: deque[Target] = deque()

    def __len__(self) -> int:
        return len(self._targets)

    def __iter__(self) -> Iterator[Target]:
        return iter(list(self._targets.values()))

    def get(self, ref: ProcessRef) -> Target | None:
        return self._targets.get(ref)

    def find_pid(self, pid: int) -> Target | None:
        """The living target with this pid."""
        return next((t for t in self._targets.values() if t.pid == pid and t.is_alive), None)

    def holds_pid(self, pid: int) -> bool:
        """Also of one that has ended: only its own watch reaps it, to know its status."""
        return any(ref.pid == pid for ref in self._targets)

    def add(self, target: Target) -> None:
        """Watch one more."""
        self._targets[target.ref] = target
        self._selector.register(
            target.exit_watch.waitable(), lambda now_ns: self._note_exit(target, now_ns)
        )
        self.sample_at(target, self._clock.monotonic_ns())

    def remove(self, target: Target) -> None:
        """Its life cycle is over."""
        self.stop_sampling(target)
        if target.ended_ns is None:
            self._selector.unregister(target.exit_watch.waitable())
        self._targets.pop(target.ref, None)

    def post(self, target: Target, event: Event) -> None:
        """Something has happened to it."""
        (self._urgent if event in _URGENT else self._events).append((target, event))

    def take_event(self) -> tuple[Target, Event] | None:
        """The next event; None if there is none."""
        events = self._urgent or self._events
        return events.popleft() if events else None

    @property
    def has_work(self) -> bool:
        """Events, or samples that are due."""
        return bool(self._urgent or self._events or self._due)

    def sample_at(self, target: Target, due_ns: int) -> None:
        """Sample its heartbeats then, and not before."""
        self._timers.arm(SampleKey(target.ref), due_ns, lambda _now_ns: self._due.append(target))

    def stop_sampling(self, target: Target) -> None:
        self._timers.disarm(SampleKey(target.ref))

    def take_due_sample(self) -> Target | None:
        """A target whose heartbeats are due for sampling; None if there is none."""
        while self._due:
            target = self._due.popleft()
            if target.is_alive:
                return target
        return None

    def _note_exit(self, target: Target, now_ns: int) -> None:
        if not target.is_alive:
            return  # released at the same time
        # Ready from now on: it must not wake us again.
        self._selector.unregister(target.exit_watch.waitable())
        target.note_ended(now_ns)
        self.stop_sampling(target)
        self.post(target, Event.EXITED)
