"""What is done about a hang: told at once, looked into, dumped, and, if asked for, ended."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from perimortem.analyze.hang_cause import derive_cause, describe_cause
from perimortem.examine import NEEDS_DUMP
from perimortem.examine.worker import encode_question
from perimortem.model.evidence import Confidence
from perimortem.model.thread_sample import ProcessSample
from perimortem.monitor.hang_action import HangAction
from perimortem.monitor.session import HangRecord, Session
from perimortem.proc import SOURCE, describe_state, sample_threads
from perimortem.watch.target import HangDetected, HangRecovered

if TYPE_CHECKING:
    from perimortem.monitor.loop import Listener, Monitor

SETTLE_NS = 500_000_000
"""So long after we let a process go, what moves in it may still be our doing. Arbitrary."""
_INDIRECT = ("output", "file:", "watchdog", "progress")
"""Heartbeats that any process of a tree may owe."""
_BETWEEN_LOOKS_NS = 100_000_000
_HANGS_KEPT = 200
"""The first and the last of a process. Arbitrary."""


class Hangs:
    """Takes the hangs of the monitor's targets."""

    def __init__(self, monitor: Monitor, listener: Listener) -> None:
        self._monitor = monitor
        self._listener = listener
        self._action = HangAction(monitor.settings.on_hang)

    def next_deadline_ns(self) -> int | None:
        """When the next one that was asked to end is killed."""
        return self._action.next_deadline_ns()

    def expire(self, now_ns: int) -> None:
        """Kill whom the request did not end."""
        self._action.expire(now_ns)

    def begin(self, session: Session, change: HangDetected) -> None:
        """Told at once; then looked into: why, a dump, stacks."""
        # What we saw ourselves of this very process, and what it said itself, is about it and no other.
        is_indirect = all(beat.name.startswith(_INDIRECT) for beat in change.hang.stopped)
        culprit = self._monitor.find_culprit(session) if is_indirect else session
        facts = [fact for source in session.sources for fact in source.facts()]
        state = describe_state(culprit.target.ref)
        record = HangRecord(change.hang, tuple(facts), state, culprit)
        session.hangs.append(record)
        for fact in facts:
            session.add_evidence(fact, SOURCE, Confidence.DERIVED)
        if culprit is not session:
            session.add_evidence(
                f"it waits for {culprit.target.name}[{culprit.pid}], which was looked at instead",
                SOURCE,
                Confidence.DERIVED,
            )
        self._listener.on_hang(
            session, self._monitor.keep(session, self._monitor.conclude(session))
        )
        del session.hangs[_HANGS_KEPT // 2 : -_HANGS_KEPT // 2]
        session.is_looked_at = True
        first = sample_threads(culprit.target.ref)
        self._monitor.after(
            _BETWEEN_LOOKS_NS, lambda _now_ns: self._look_closer(session, record, first)
        )

    def _look_closer(
        self, session: Session, record: HangRecord, first: ProcessSample | None
    ) -> None:
        """The second look, before the dump stops everything: why does nothing progress?"""
        session.is_looked_at = False
        names = tuple(beat.name for beat in record.hang.stopped)
        culprit = record.examined
        second = sample_threads(culprit.target.ref) if first is not None else None
        if first is not None and second is not None:
            record.cause = derive_cause(first, second, culprit.pid, names)
            session.add_evidence(
                f"{describe_cause(record.cause)} (two looks {record.cause.over_ms:.0f} ms apart)",
                SOURCE,
                Confidence.DERIVED,
            )
        self._monitor.dumper.request(
            session,
            f"{culprit.target.name}: hang of {', '.join(names)}"
            + (f" ({record.cause.kind})" if record.cause else ""),
            lambda: self._examine_stacks(session, record, self._monitor.now_ns()),
            examined=culprit,
        )

    def _examine_stacks(self, session: Session, record: HangRecord, now_ns: int) -> None:
        if not self._monitor.settings.collect_stacks or record.examined.end is not None:
            self._finish(session)
            return

        def on_examined(document: dict[str, Any] | None, why: str) -> None:
            if document is None:
                session.soft_errors.append(f"no stacks: {why}")
            else:
                record.examination = document
                for deadlock in document["deadlocks"]:
                    session.add_evidence(deadlock["text"], "stacks", Confidence.DERIVED)
            self._finish(session)

        target = record.examined.target
        dumped = next((dump.path for dump in reversed(session.dumps) if dump.path), None)
        if NEEDS_DUMP and dumped is not None:
            question = encode_question(path=Path(dumped))
        else:
            question = encode_question(process=target.ref)
        self._monitor.examiner.request(target, question, on_examined, now_ns)

    def _finish(self, session: Session) -> None:
        now_ns = self._monitor.now_ns()
        for touched in {id(s): s for s in (session, session.hangs[-1].examined)}.values():
            touched.watch.rebase_but_stopped(now_ns)
            touched.disregard(now_ns + SETTLE_NS)
        if session.end is None:
            incident = self._monitor.keep(session, self._monitor.conclude(session))
            self._listener.on_hang_examined(session, incident)
            self._action.act(session, now_ns)
        self._monitor.finish_waiting()

    def end(self, session: Session, change: HangRecovered) -> None:
        """It beats again."""
        record = session.open_hang
        if record is not None:
            record.hang = change.hang
            self._listener.on_recovery(session)
