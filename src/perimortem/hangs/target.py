"""The state machine of one watched target. Pure: pulses and times in, hangs out.

A sample is lazy: the caller comes back at ``due_ns``, the first moment at which some heartbeat can be
late. Between two samples a target may beat a million times; it costs the monitor nothing.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from perimortem.hangs.policy import (
    AGENT_HEARTBEATS,
    AGENT_THRESHOLD_LEAST_NS,
    AGENT_THRESHOLD_NAMED_LEAST_NS,
    WatchPolicy,
)
from perimortem.hangs.states import LETTERS, State
from perimortem.model.hang import Hang, StoppedHeartbeat
from perimortem.model.recording import Heartbeat, Pulse

NEVER_NS = 1 << 63


@dataclass(frozen=True)
class HangDetected:
    """A hang began (the target is HUNG)."""

    hang: Hang


@dataclass(frozen=True)
class HangRecovered:
    """The hang is over: every heartbeat that had stopped beats again."""

    hang: Hang


Change = HangDetected | HangRecovered


class TargetWatch:
    """One target: feed it pulses with :meth:`sample`, come back at :attr:`due_ns`."""

    def __init__(self, policy: WatchPolicy, now_ns: int) -> None:
        self.policy = policy
        self.state = State.STARTING
        self.due_ns = now_ns
        self.hang: Hang | None = None
        self.trail: list[str] = []
        """Letters of the transitions taken (docs/states.md)."""
        self._base_ns = 0
        self._unbased: frozenset[str] = frozenset()
        self._late_since_ns = 0

    def sample(self, pulse: Pulse, now_ns: int, confirm: Callable[[], bool]) -> Change | None:
        """Judge one pulse.

        ``confirm`` is asked once before a hang is reported: does the target still carry this recorder?
        When it answers no, nothing is judged (the heartbeat was lost, not stopped).
        """
        if self.state is State.ENDED:
            return None
        overdue, next_due_ns = self._judge(pulse, now_ns)
        if self.state is State.HUNG:
            return self._sample_while_hung(overdue, now_ns)
        if self.state is State.LATE:
            return self._sample_again(pulse, overdue, next_due_ns, now_ns, confirm)
        if overdue:
            self._late_since_ns = now_ns
            self._go(State.LATE)
            self.due_ns = now_ns + self.policy.second_sample_ns
            return None
        self.due_ns = next_due_ns
        if self.state is State.RECOVERED or any(beat.beaten for beat in pulse.heartbeats):
            self._go(State.ALIVE)
        return None

    def rebase(self, now_ns: int) -> None:
        """Time has passed in which we could not watch: every deadline counts from now.

        Only a heartbeat that had stopped by then is judged as before: a reported hang is over when that
        heartbeat beats again, and not because we were absent.
        """
        self.rebase_but_stopped(now_ns)
        if self.state is State.LATE:
            self._late_since_ns = now_ns
        self.due_ns = now_ns if self.state is State.HUNG else now_ns + self.policy.second_sample_ns

    def rebase_but_stopped(self, now_ns: int) -> None:
        """We held the target (a dump, a debugger): heartbeats that beat before count from now."""
        stopped = {beat.name for beat in self.hang.stopped} if self.hang else set()
        self._base_ns, self._unbased = now_ns, frozenset(stopped)

    def end(self) -> None:
        """The process has ended."""
        if self.state is not State.ENDED:
            self._go(State.ENDED)
        self.due_ns = NEVER_NS

    def threshold_ns(self, heartbeat: Heartbeat) -> int:
        """The limit that holds for a heartbeat: the user's, else its own, else the default."""
        named_ns = self.policy.threshold_of_ns.get(heartbeat.name)
        if heartbeat.name not in AGENT_HEARTBEATS:
            return named_ns or heartbeat.threshold_ns or self.policy.threshold_ns
        if named_ns is not None:
            return max(named_ns, AGENT_THRESHOLD_NAMED_LEAST_NS)
        return heartbeat.threshold_ns or max(self.policy.threshold_ns, AGENT_THRESHOLD_LEAST_NS)

    def deadline_ns(self, heartbeat: Heartbeat, goodbye_ns: int | None) -> int:
        """The time at which this heartbeat is late, unless it beats before."""
        if heartbeat.paused:
            return NEVER_NS
        threshold_ns = self.threshold_ns(heartbeat)
        if not heartbeat.beaten:
            threshold_ns = max(threshold_ns, self.policy.grace_ns)
        # After a goodbye the beats stop on purpose; only an exit that takes too long is a hang.
        base_ns = 0 if heartbeat.name in self._unbased else self._base_ns
        since_ns = max(heartbeat.beat_ns, base_ns, goodbye_ns or 0)
        return max(since_ns + threshold_ns, heartbeat.hold_until_ns)

    def _judge(self, pulse: Pulse, now_ns: int) -> tuple[list[Heartbeat], int]:
        overdue = []
        next_due_ns = NEVER_NS
        for heartbeat in pulse.heartbeats:
            deadline_ns = self.deadline_ns(heartbeat, pulse.goodbye_ns)
            if deadline_ns <= now_ns:
                overdue.append(heartbeat)
                continue
            if not heartbeat.beaten:
                # Its first beat, which may come at once, ends the grace: sample a threshold from now.
                deadline_ns = min(deadline_ns, now_ns + self.threshold_ns(heartbeat))
            next_due_ns = min(next_due_ns, deadline_ns)
        # A heartbeat registered from now on must be found before it can be late.
        return overdue, min(next_due_ns, now_ns + self.policy.threshold_ns)

    def _sample_again(
        self,
        pulse: Pulse,
        overdue: list[Heartbeat],
        next_due_ns: int,
        now_ns: int,
        confirm: Callable[[], bool],
    ) -> Change | None:
        if not overdue:
            beaten = any(beat.beaten for beat in pulse.heartbeats)
            self._go(State.ALIVE if beaten else State.STARTING)
            self.due_ns = next_due_ns
            return None
        if now_ns < self._late_since_ns + self.policy.second_sample_ns:
            self.due_ns = self._late_since_ns + self.policy.second_sample_ns
            return None
        self.due_ns = NEVER_NS
        if not confirm():  # it may have rebased us: then that due time holds
            self._go(State.ALIVE)
            return None
        self._go(State.HUNG)
        late = {beat.name for beat in overdue}
        self.hang = Hang(
            stopped=tuple(self._stopped(beat) for beat in overdue),
            still_beating=tuple(b.name for b in pulse.heartbeats if b.name not in late),
            detected_ns=now_ns,
            recovered_ns=None,
        )
        self.due_ns = now_ns + self.policy.hung_sample_ns
        return HangDetected(self.hang)

    def _sample_while_hung(self, overdue: list[Heartbeat], now_ns: int) -> Change | None:
        assert self.hang is not None
        late = {beat.name for beat in overdue}
        known = {beat.name for beat in self.hang.stopped}
        if late & known:
            fresh = [self._stopped(beat) for beat in overdue if beat.name not in known]
            if fresh:
                self.hang = replace(
                    self.hang,
                    stopped=(*self.hang.stopped, *fresh),
                    still_beating=tuple(n for n in self.hang.still_beating if n not in late),
                )
            self.due_ns = now_ns + self.policy.hung_sample_ns
            return None
        recovered = replace(self.hang, recovered_ns=now_ns)
        self.hang = None
        self._go(State.RECOVERED)
        self.due_ns = now_ns + self.policy.second_sample_ns
        return HangRecovered(recovered)

    def _stopped(self, heartbeat: Heartbeat) -> StoppedHeartbeat:
        threshold_ns = self.threshold_ns(heartbeat)
        if not heartbeat.beaten:
            threshold_ns = max(threshold_ns, self.policy.grace_ns)
        return StoppedHeartbeat(heartbeat.name, heartbeat.beat_ns, threshold_ns, heartbeat.beaten)

    def _go(self, state: State) -> None:
        if state is self.state:
            return
        self.trail.append(LETTERS[self.state, state])
        del self.trail[:-64]
        self.state = state
