"""The monitor's event loop: ready descriptors, due timers, and the resulting transitions.

It waits in a selector and nowhere else: nothing that it calls blocks on a target, a worker or a client.
Ends of many targets at once are worked on in short turns: what crashes meanwhile is answered in between.
It wakes for an event or for a deadline, and never to poll a healthy target's beats. All its dependencies
are passed in; it knows no front end, no store and no operating system.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from perimortem.hangs.target import HangDetected, HangRecovered
from perimortem.hangs.wakeup_delay import WakeupDelayDetector
from perimortem.model.fact import FactCode, observed
from perimortem.monitor.base import Base
from perimortem.monitor.effects import Perform
from perimortem.monitor.hang_effects import HangEffects
from perimortem.monitor.heartbeat_check import HeartbeatCheck
from perimortem.monitor.lifecycle import Effect, Event, UnexpectedEvent
from perimortem.monitor.loop_pauses import LoopPauses
from perimortem.monitor.turns import TURN_NS

_BACKLOG_NS = 60_000_000_000
"""How long after the last end what was announced before is still worked on. Arbitrary."""

_DRAIN_NS = 1_000_000_000
"""How long after that ends are still collected; new ones might keep coming. Arbitrary."""


class Engine:
    """Watches its targets until all have ended or :meth:`stop` is called."""

    def __init__(
        self,
        base: Base,
        check: HeartbeatCheck,
        hangs: HangEffects,
        effects: Mapping[Effect, Perform],
        pauses: LoopPauses,
    ) -> None:
        self._selector = base.selector
        self._clock = base.clock
        self._timers = base.timers
        self._turns = base.turns
        self._pool = base.pool
        self._targets = base.targets
        self._check = check
        self._hangs = hangs
        self._effects = effects
        self._pauses = pauses
        self._delay = WakeupDelayDetector(base.clock)
        self._turn_until_ns = 0
        self._is_stopping = False

    def stop(self) -> None:
        """End the watch; targets keep running."""
        self._is_stopping = True

    def run(
        self, is_done: Callable[[], bool] = lambda: False, *, waits_for_more: bool = False
    ) -> None:
        """Until every target has ended, ``is_done`` says so, or :meth:`stop`.

        ``waits_for_more``: keep going when no target is left, since others may appear."""
        backlog_until_ns: int | None = None
        drain_until_ns: int | None = None
        while not self._is_stopping:
            if not is_done() and (waits_for_more or len(self._targets)):
                self.run_once()
                continue
            # Ends that coincide with the last one are reported, too.
            now_ns = self._clock.monotonic_ns()
            if backlog_until_ns is None:
                backlog_until_ns = now_ns + _BACKLOG_NS
                self._take_ready(0)
                self._turns.finish()
                self._pool.dismiss_spares()
            if self._turns.has_work and now_ns < backlog_until_ns:
                self.run_once()
                continue
            if drain_until_ns is None:
                drain_until_ns = now_ns + _DRAIN_NS
            if now_ns > drain_until_ns or not self._take_ready(0):
                return

    def run_once(self) -> None:
        """One wait, and what follows from it, for a short time; the rest follows from the next wait."""
        due_ns = self._timers.next_due_ns()
        now_ns = self._clock.monotonic_ns()
        timeout_s = None if due_ns is None else max(0.0, (due_ns - now_ns) / 1e9)
        self._take_ready(0 if self._targets.has_work else timeout_s, due_ns)
        now_ns = self._clock.monotonic_ns()
        for call in self._timers.take_due(now_ns):
            call(now_ns)
            self._take_events()
            if self._is_turn_over():
                return
        self._sample_due(now_ns)

    def release_all(self) -> None:
        """The watch has ended: every remaining target is reported in its current state."""
        released = list(self._targets)
        for target in released:
            self._targets.post(target, Event.WATCH_ENDED)
        # Reports are being written, which takes a bounded time. Other targets may keep coming.
        while not all(target.life.is_over for target in released):
            self.run_once()

    def _take_events(self) -> None:
        """Processes posted events and their consequences, in this turn."""
        while (taken := self._targets.take_event()) is not None:
            target, event = taken
            if target.life.is_over:
                continue  # it arrived too late to matter
            try:
                effects = target.advance(event)
            except UnexpectedEvent as error:
                target.note_soft_error(f"internal error: {error}")
                continue
            for effect in effects:
                self._effects[effect](target)
            if not target.is_alive:
                self._check.forget(target)
            if self._is_turn_over():
                return

    def _is_turn_over(self) -> bool:
        return self._clock.monotonic_ns() > self._turn_until_ns

    def _take_ready(self, timeout_s: float | None, due_ns: int | None = None) -> bool:
        self._pauses.end()
        calls = self._selector.wait(timeout_s)
        self._pauses.begin()
        now_ns = self._clock.monotonic_ns()
        self._rebase_if_late(due_ns, now_ns)
        for call in calls:
            call(now_ns)
        self._turn_until_ns = self._clock.monotonic_ns() + TURN_NS
        # Only now: a signal and the end that it caused may be ready together, in any order.
        self._take_events()
        return bool(calls) or self._targets.has_work

    def _rebase_if_late(self, due_ns: int | None, now_ns: int) -> None:
        rebase = self._delay.judge(due_ns, now_ns)
        if rebase is None:
            return
        for target in self._targets:
            if target.is_alive:
                self._check.rebase(target, now_ns)
                target.note(
                    observed(
                        FactCode.DEADLINES_RESET,
                        "monitor's clock",
                        why=rebase.reason,
                        lost_s=rebase.lost_ns / 1e9,
                    )
                )

    def _sample_due(self, now_ns: int) -> None:
        while (target := self._targets.take_due_sample()) is not None:
            change = self._check.check(target, now_ns)
            if isinstance(change, HangDetected):
                self._hangs.begin(target, change)
            elif isinstance(change, HangRecovered):
                self._hangs.end(target, change)
            self._take_events()
            if self._is_turn_over():
                return
