"""How a hang is handled: report it at once, then examine it: cause, dump, stacks."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from perimortem.analysis.crash import name_program
from perimortem.analysis.hang_cause import derive_cause, describe_cause
from perimortem.examine import NEEDS_DUMP
from perimortem.hangs.target import HangDetected, HangRecovered
from perimortem.model.fact import FactCode, derived
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessRef
from perimortem.model.thread_sample import ProcessSample
from perimortem.monitor.dumps import Dumps, Taken, Wish
from perimortem.monitor.family import Family
from perimortem.monitor.lifecycle import Awaited, Event
from perimortem.monitor.listener import Listener
from perimortem.monitor.target import HangRecord, Target
from perimortem.monitor.targets import Targets
from perimortem.monitor.work import Work
from perimortem.proc import SOURCE, describe_state, sample_threads
from perimortem.sandbox import find_user

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination

_INDIRECT = ("output", "file:", "watchdog", "progress")
"""Heartbeats that any process of a tree may send."""
_BETWEEN_SAMPLES_NS = 100_000_000

Record = Callable[[Target], Incident]
"""Writes what is known of a target to the store."""


class HangEffects:
    """For one watch."""

    def __init__(
        self,
        work: Work,
        targets: Targets,
        dumps: Dumps,
        family: Family,
        listener: Listener,
        record: Record,
        *,
        collect_stacks: bool,
    ) -> None:
        self._work = work
        self._targets = targets
        self._dumps = dumps
        self._family = family
        self._listener = listener
        self._record = record
        self._collect_stacks = collect_stacks
        self._samples: dict[ProcessRef, ProcessSample | None] = {}
        self._taken: dict[ProcessRef, Taken] = {}
        self._ranks_reported = ""

    def begin(self, target: Target, change: HangDetected) -> None:
        """Record a hang, with what the heartbeat sources found out about it, and post it."""
        # A heartbeat of the process itself is about no other process.
        is_indirect = all(beat.name.startswith(_INDIRECT) for beat in change.hang.stopped)
        if is_indirect and target.deadlock is None:
            culprit = self._family.find_culprit(target)
        else:
            culprit = target
        facts = tuple(fact for source in target.sources for fact in source.facts())
        state = describe_state(culprit.ref)
        deadlock = target.deadlock if is_indirect else None
        target.note_hang(HangRecord(change.hang, facts, state, culprit.process, deadlock=deadlock))
        for fact in facts:
            target.note(derived(FactCode.SILENCE, SOURCE, text=fact))
        if culprit is not target:
            name, pid = culprit.process.name, culprit.pid
            target.note(derived(FactCode.WAITS_FOR, SOURCE, name=name, pid=pid))
        self._work.post(target, Event.HANG_DETECTED)

    def end(self, target: Target, change: HangRecovered) -> None:
        """Record that it beats again, and post that."""
        record = target.open_hang
        if record is not None:
            target.update_hang(replace(record, hang=change.hang))
            self._work.post(target, Event.HANG_RECOVERED)

    def notify(self, target: Target) -> None:
        self._listener.on_hang(target, self._record(target))

    def arm_sample(self, target: Target) -> None:
        """The second sample comes before the dump, which stops everything."""
        self._samples[target.ref] = sample_threads(target.hangs[-1].examined.ref)
        self._work.arm(target, Awaited.SAMPLE, _BETWEEN_SAMPLES_NS, self._take_second_sample)

    def dump(self, target: Target) -> None:
        record = target.hangs[-1]
        names = ", ".join(beat.name for beat in record.hang.stopped)
        kind = f" ({record.cause.kind})" if record.cause else ""
        key = f"{name_program(record.examined)}: hang of {names}{kind}"

        def done(taken: Taken) -> None:
            taken.note_in(target)
            self._taken[target.ref] = taken
            self._work.post(target, Event.HANG_DUMPED)

        wish = Wish(target, record.examined, key)
        cancel = self._dumps.take(wish, lambda: not self._work.is_alive(record.examined.ref), done)
        self._work.track(target, Awaited.HANG_DUMP, cancel)

    def examine(self, target: Target) -> None:
        record = target.hangs[-1]
        taken = self._taken.pop(target.ref)
        if not self._collect_stacks or not self._work.is_alive(record.examined.ref):
            taken.discard_scratch()
            self._work.post(target, Event.HANG_EXAMINED)
            return

        def done(document: Examination | None, why: str) -> None:
            taken.discard_scratch()
            if document is None:
                target.note_soft_error(f"no stacks: {why}")
            else:
                target.update_hang(replace(target.hangs[-1], examination=document))
                for deadlock in document.deadlocks:
                    target.note(derived(FactCode.DEADLOCK, "stacks", text=deadlock.text))
            self._work.post(target, Event.HANG_EXAMINED)

        process = record.examined.ref
        path = taken.path if NEEDS_DUMP else None
        user = find_user(process.pid)
        self._work.examine(target, Awaited.HANG_EXAMINATION, process, path, user, done)

    def notify_examined(self, target: Target) -> None:
        culprit = self._targets.get(target.hangs[-1].examined.ref)
        for held in {id(t): t for t in (target, culprit) if t is not None}.values():
            self._work.let_settle(held)
        self._listener.on_hang_examined(target, self._record(target))
        self._report_ranks()

    def _report_ranks(self) -> None:
        from perimortem.monitor.rank_report import report_ranks  # only if something hangs

        found = report_ranks(self._targets)
        if found is None or found[0] == self._ranks_reported:
            return
        self._ranks_reported, ranks = found
        for rank in ranks:
            rank.note(derived(FactCode.RANKS, "stacks", text=self._ranks_reported))
        self._listener.on_ranks(self._ranks_reported)

    def forget(self, target: Target) -> None:
        """Cancels all further work on it."""
        self._samples.pop(target.ref, None)
        if target.ref in self._taken:
            self._taken.pop(target.ref).discard_scratch()

    def _take_second_sample(self, target: Target) -> None:
        record = target.hangs[-1]
        names = tuple(beat.name for beat in record.hang.stopped)
        first = self._samples.pop(target.ref, None)
        second = sample_threads(record.examined.ref) if first is not None else None
        if first is not None and second is not None:
            suspects = record.deadlock.tids if record.deadlock else frozenset[int]()
            cause = derive_cause(first, second, record.examined.ref.pid, names, suspects)
            target.update_hang(replace(record, cause=cause))
            text = describe_cause(cause)
            target.note(
                derived(FactCode.HANG_CAUSE, SOURCE, text=text, apart_ms=round(cause.over_ms))
            )
        self._work.post(target, Event.SAMPLED)
