"""Sample and judge the heartbeats of a target: is it hung, has it recovered, when to sample next?"""

from __future__ import annotations

from perimortem.clock import Clock
from perimortem.hangs.states import State
from perimortem.hangs.target import NEVER_NS, HangDetected, HangRecovered
from perimortem.model.process import ProcessRef
from perimortem.model.recording import Pulse
from perimortem.monitor.target import Target
from perimortem.monitor.targets import Targets
from perimortem.monitor.workers import WorkerPool
from perimortem.proc import refresh_executable
from perimortem.reading import ProcessReader

OBSERVE_INTERVAL_NS = 1_000_000_000
_OBSERVED_PER_S = 25
"""Processes observed by their sources per second; with more of them each is observed less often, but for
the requested ones."""
_HELD_SAMPLE_NS = 100_000_000


class HeartbeatCheck:
    """Samples one target at a time; a hang is posted with what its sources know of it."""

    def __init__(
        self, targets: Targets, pool: WorkerPool, clock: Clock, reader: ProcessReader
    ) -> None:
        self._targets = targets
        self._pool = pool
        self._clock = clock
        self._reader = reader
        self._observe_due_ns: dict[ProcessRef, int] = {}

    def check(self, target: Target, now_ns: int) -> HangDetected | HangRecovered | None:
        """Sample it now, and arm the timer for the next sample."""
        self._observe(target, now_ns)
        retry_ns = self._find_recorder(target)
        pulse = target.read_pulse(now_ns)
        if target.recorder.is_open and target.recorder.error:
            target.lose_recorder(target.recorder.error)
        if self.is_held(target):
            self._targets.sample_at(target, now_ns + _HELD_SAMPLE_NS)
            return None
        change: HangDetected | HangRecovered | None = None
        if pulse is not None:
            change = target.watch.sample(pulse, now_ns, lambda: self._is_recorder_current(target))
        self._arm(target, pulse, retry_ns, now_ns)
        return change

    def is_held(self, target: Target) -> bool:
        """While our own inquiry stops the process, it cannot beat; once we have signalled its end, its
        silence is our doing, and a beat on the way out is no recovery."""
        if not target.life.is_idle or target.life.is_end_signalled:
            return True
        if not self._pool.is_working:
            return False
        pids = {target.pid, *(record.examined.ref.pid for record in target.hangs[-1:])}
        return any(self._pool.holds(pid) for pid in pids)

    def take_recorder_event(self, target: Target, now_ns: int) -> None:
        """Its recorder changed: a heartbeat was registered, or an exec created a new recorder."""
        if target.recorder.refresh():
            target.note_exec(self._reader.renew_process_info(target.process))
        self._targets.sample_at(target, now_ns)

    def rebase(self, target: Target, now_ns: int) -> None:
        """Accounts for time in which we could not watch."""
        target.watch.rebase(now_ns)
        if target.watch.due_ns < NEVER_NS:
            self._targets.sample_at(target, target.watch.due_ns)

    def forget(self, target: Target) -> None:
        """Stop sampling it."""
        self._observe_due_ns.pop(target.ref, None)

    def _arm(self, target: Target, pulse: Pulse | None, retry_ns: int | None, now_ns: int) -> None:
        times = [target.watch.due_ns] if pulse is not None else []
        if retry_ns is not None:
            times.append(now_ns + retry_ns)
        if target.ref in self._observe_due_ns:
            times.append(self._observe_due_ns[target.ref])
        due_ns = min(times, default=NEVER_NS)
        if due_ns < NEVER_NS:
            self._targets.sample_at(target, due_ns)

    def _observe(self, target: Target, now_ns: int) -> None:
        """At the sources' own pace, and before anything is judged, so that no beat is missed."""
        is_due = now_ns >= self._observe_due_ns.get(target.ref, 0)
        is_doubtful = target.watch.state in (State.LATE, State.HUNG)
        if not target.sources or not (is_due or is_doubtful) or self.is_held(target):
            return
        target.observe(now_ns)
        if not target.process.command_line:  # it could not be read in time
            target.rename(self._reader.renew_process_info(target.process))
        crowd = 1 if target.is_command else len(self._observe_due_ns) // _OBSERVED_PER_S
        # Together with others: a monitor that wakes seldom costs less.
        turn_ns = now_ns - now_ns % OBSERVE_INTERVAL_NS
        self._observe_due_ns[target.ref] = turn_ns + OBSERVE_INTERVAL_NS * max(1, crowd)

    def _find_recorder(self, target: Target) -> int | None:
        """Delay before searching for its recorder again; None if it is open or lost."""
        if target.recorder_lost:
            return None
        if not target.recorder.is_open and not target.recorder.open():
            return target.recorder.retry_ns()
        if not target.has_beaten:
            target.note_first_beat(refresh_executable(target.process))
        return None

    def _is_recorder_current(self, target: Target) -> bool:
        """Before a hang is reported: does this recorder belong to the program that runs now?"""
        if target.recorder_lost or not target.recorder.is_open:
            return True  # only our own observations are judged
        if target.recorder.refresh():
            target.watch.rebase(self._clock.monotonic_ns())
            return False
        if not target.recorder.is_mapped(self._reader.maps_file):
            target.lose_recorder("after an exec the program carries no agent")
            return False
        return True
