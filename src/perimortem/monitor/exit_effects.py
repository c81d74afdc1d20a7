"""How the end of a target is handled: its status, the verdict, the report; or its release."""

from __future__ import annotations

from dataclasses import replace
from functools import partial

from perimortem.clock import Clock
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessRef
from perimortem.monitor.conclude import Concluder
from perimortem.monitor.family import Reporter
from perimortem.monitor.incident_store import IncidentStore, add_kept
from perimortem.monitor.lifecycle import Awaited, Event
from perimortem.monitor.target import HangRecord, Target
from perimortem.monitor.targets import Targets
from perimortem.monitor.work import Work

_RETRY_MAX_NS = 50_000_000


class ExitEffects:
    """For one watch."""

    def __init__(
        self,
        work: Work,
        targets: Targets,
        concluder: Concluder,
        store: IncidentStore,
        reporter: Reporter,
        clock: Clock,
    ) -> None:
        self._work = work
        self._targets = targets
        self._concluder = concluder
        self._store = store
        self._reporter = reporter
        self._clock = clock
        self._pauses_ns: dict[ProcessRef, int] = {}
        """Before the status is read again."""
        self._concluded: dict[ProcessRef, int] = {}
        """The version of a target when its verdict was drawn."""

    def record(self, target: Target) -> Incident:
        """Has what is known now stored, in case we are killed the next moment."""
        incident = self._concluder.conclude(target)
        self._store.record(target, incident)
        return incident

    def collect_status(self, target: Target) -> None:
        """A worker or a debugger that holds the dead process delays its status: retry later."""
        now_ns = self._clock.monotonic_ns()
        end = target.exit_watch.collect_exit(now_ns)
        if end is None:
            first_ns = int(target.exit_watch.retry_after_s * 1e9)
            pause_ns = self._pauses_ns.get(target.ref, first_ns)
            self._pauses_ns[target.ref] = min(2 * pause_ns, _RETRY_MAX_NS)
            self._work.arm(target, Awaited.STATUS, pause_ns, self.collect_status)
            return
        hang = target.watch.hang
        target.note_exit(end)
        self._reporter.on_exit(target, now_ns)
        record = target.open_hang
        if hang is not None and record is not None:
            # With the heartbeats that stopped since; and it may have recovered at the very end.
            hang = replace(hang, recovered_ns=_find_recovery(target, record, now_ns))
            target.update_hang(replace(record, hang=hang))
        self._work.post(target, Event.STATUS_KNOWN)

    def conclude(self, target: Target) -> None:
        """Draws the verdict, at the report's end time; pending work may still add to it."""
        target.set_verdict(self._concluder.conclude(target))
        self._concluded[target.ref] = target.version

    def store(self, target: Target) -> None:
        incident = target.incident
        if incident is None or self._concluded.get(target.ref) != target.version:
            fuller = self._concluder.conclude(target)
            at_ns = incident.verdict_at_ns if incident else fuller.verdict_at_ns
            incident = replace(fuller, verdict_at_ns=at_ns)
        incident, is_stored = self._reporter.complete_end(target, incident)
        target.set_verdict(incident)
        if is_stored:
            done = partial(self._work.post, target, Event.STORED)
            self._store.record(target, incident, done)
        else:
            self._work.post(target, Event.STORED)

    def report(self, target: Target) -> None:
        assert target.incident is not None
        self._reporter.report_end(target, add_kept(target.incident, target.kept))
        if target.kept.is_kept:
            target.recorder.remove()

    def report_release(self, target: Target) -> None:
        incident = self._concluder.conclude(target)
        if target.is_recorded or target.open_hang is not None:
            self._store.record(target, incident)
        self._reporter.report_release(target, incident)

    def close(self, target: Target) -> None:
        self._targets.remove(target)
        self._pauses_ns.pop(target.ref, None)
        self._concluded.pop(target.ref, None)
        target.close()


def _find_recovery(target: Target, record: HangRecord, now_ns: int) -> int | None:
    """When it beat again between our last sample and its end; None: it did not, or we ended it."""
    if target.life.is_end_signalled:
        return None
    pulse = target.read_pulse(now_ns)
    beats = {b.name: b.beat_ns for b in pulse.heartbeats if b.beaten} if pulse else {}
    last = [beats.get(stopped.name, 0) for stopped in record.hang.stopped]
    return max(last) if min(last, default=0) > record.hang.detected_ns else None
