"""One watched process: its identity, what was observed of it, and its life cycle phase.

Only its own methods change it. Sequences only grow, except where noted; ``None`` means unknown.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from perimortem.analysis.hang_cause import describe_cause
from perimortem.analysis.observations import Request
from perimortem.beats.process_state import ProcessStateBeat
from perimortem.beats.progress import Progress
from perimortem.beats.source import BeatSource
from perimortem.exits.sources import ExitWatch
from perimortem.hangs.target import TargetWatch
from perimortem.model.crash import Crash
from perimortem.model.dump import DumpResult
from perimortem.model.exits import Exit, Sender
from perimortem.model.fact import Fact, FactCode, observed
from perimortem.model.hang import Hang
from perimortem.model.incident import Incident
from perimortem.model.process import ProcessInfo, ProcessRef
from perimortem.model.recording import Heartbeat, Pulse, Recording, merge_heartbeats
from perimortem.model.stuck import StuckThreads
from perimortem.model.thread_sample import HangCause, HangKind
from perimortem.monitor.lifecycle import Awaited, Effect, Event, Life, advance
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.store.answers import Kept

if TYPE_CHECKING:
    from perimortem.documents.examination import Examination

_FACTS_MAX = 200
"""Per process: a process that hangs repeatedly says the same each time. Arbitrary."""
_HANGS_KEPT = 200
"""The first and the last ones of a process. Arbitrary."""
_REQUESTS_KEPT = 200


@dataclass(frozen=True)
class HangRecord:
    """A hang and the findings about it."""

    hang: Hang
    facts: tuple[str, ...]
    """What its heartbeat sources found out about the silence."""
    state: str | None
    """The kernel's state of its main thread at detection; superseded by the cause."""
    examined: ProcessInfo
    """The process whose dump and stacks are taken: a wrapper that waits has nothing to show."""
    cause: HangCause | None = None
    """From two samples; None until the second."""
    examination: Examination | None = None
    """Its stacks and locks."""
    deadlock: StuckThreads | None = None
    """The threads that nothing will ever wake; None if that is not why."""

    def describe(self) -> str | None:
        """The state of its threads, as text."""
        is_known = self.cause is not None and self.cause.kind is not HangKind.UNKNOWN
        known = describe_cause(self.cause) if self.cause and is_known else self.state
        if self.deadlock or (self.facts and self.cause and self.cause.kind is HangKind.LOCK):
            known = None  # its sources have already said that, and more
        return "; ".join([*self.facts, *([known] if known else [])]) or None


class Target:
    """A process under watch. The key of a target is ``ref``, everywhere."""

    def __init__(
        self,
        process: ProcessInfo,
        exit_watch: ExitWatch,
        recorder: RecorderLink,
        watch: TargetWatch,
        watched_since_ns: int,
        *,
        sources: Iterable[BeatSource] = (),
        parent_pid: int | None = None,
        is_command: bool = True,
        is_met_dead: bool = False,
        has_crash_handler: bool = False,
        labels: dict[str, str] | None = None,
        facts: Iterable[Fact] = (),
        dumps: Iterable[DumpResult] = (),
        owner_pid: int | None = None,
    ) -> None:
        """``sources``: heartbeats that do not come from its recorder; ``is_command``: False for a
        descendant of the requested process; ``is_met_dead``: it had ended before we could hold it;
        ``has_crash_handler``: it was started with one, if it carries the agent; ``labels``: RANK
        and such; ``owner_pid``: the monitor whose incident it is, as its recorder has it (0: of any that
        serves), None: this one."""
        self.process = process
        self.exit_watch = exit_watch
        self.recorder = recorder
        self.watch = watch
        self.watched_since_ns = watched_since_ns
        self.sources = tuple(sources)
        self.parent_pid = parent_pid
        self.is_command = is_command
        self.is_met_dead = is_met_dead
        self.has_crash_handler = has_crash_handler
        self.labels = dict(labels or {})
        self.owner_pid = os.getpid() if owner_pid is None else owner_pid
        self.life = Life()
        self.hangs: list[HangRecord] = []
        self.dumps: list[DumpResult] = list(dumps)
        self.requests: list[Request] = []
        self.facts: list[Fact] = list(facts)
        self.soft_errors: list[str] = []
        self.has_beaten = False
        """Its recorder has been read: any exec between us and the program is over."""
        self.recorder_lost: str | None = None
        """Why the recorder is no longer valid (exec without the agent, damaged)."""
        self.crash: Crash | None = None
        """What its crash handler reported."""
        self.crash_sender: Sender | None = None
        """The other process that sent the signal of the crash."""
        self.examination: Examination | None = None
        """What the dump of its crash shows."""
        self.end: Exit | None = None
        self.ended_ns: int | None = None
        self.is_ended_by_policy = False
        """We signalled it to end, because of --on-hang."""
        self.incident: Incident | None = None
        """The verdict on its end."""
        self.kept = Kept()
        """What became of its last report; if it is kept nowhere, its recorder is left for the next
        monitor."""
        self.uid: str | None = None
        """Of its incident, once a report of it is at least on its way to the store."""
        self._changes = 0

    @property
    def ref(self) -> ProcessRef:
        return self.process.ref

    @property
    def pid(self) -> int:
        return self.process.ref.pid

    @property
    def is_alive(self) -> bool:
        """It is watched, and its end has not been seen."""
        return self.ended_ns is None and not self.life.is_over

    @property
    def is_recorded(self) -> bool:
        """It has a report, at least on its way to the store."""
        return self.uid is not None

    @property
    def is_dumped_at_exit(self) -> bool:
        """A worker waits for its exit (--capture-exit)."""
        return Awaited.EXIT_DUMP in self.life.awaited

    @property
    def open_hang(self) -> HangRecord | None:
        """The current hang, if any."""
        if self.hangs and self.hangs[-1].hang.recovered_ns is None:
            return self.hangs[-1]
        return None

    @property
    def deadlock(self) -> StuckThreads | None:
        """Threads of it that nothing will ever wake, as last observed."""
        found = (source.deadlock for source in self.sources if isinstance(source, Progress))
        return next((deadlock for deadlock in found if deadlock is not None), None)

    @property
    def tids(self) -> set[int]:
        """The threads seen so far."""
        seen = {self.pid}
        for source in self.sources:
            if isinstance(source, ProcessStateBeat):
                seen |= source.tids
        return seen

    @property
    def version(self) -> int:
        """Changes whenever something that belongs in its incident is recorded."""
        return self._changes

    # Life

    def advance(self, event: Event) -> tuple[Effect, ...]:
        """Apply ``event``; returns the effects to carry out. Raises UnexpectedEvent."""
        self.life, effects = advance(self.life, event)
        return effects

    def expect_exit_dump(self) -> None:
        """A worker was started that dumps it at its exit."""
        self.life = replace(self.life, awaited=self.life.awaited | {Awaited.EXIT_DUMP})

    # Heartbeats

    def read_pulse(self, now_ns: int) -> Pulse | None:
        """The recorder's heartbeats, and those of the other sources; None when there is none."""
        pulse = None if self.recorder_lost else self.recorder.read_pulse(now_ns)
        observed = self.observed()
        if pulse is None:
            return Pulse(self.ref, observed, None, None, None) if observed else None
        if not observed:
            return pulse
        return pulse._replace(heartbeats=merge_heartbeats(pulse.heartbeats, observed))

    def observed(self) -> tuple[Heartbeat, ...]:
        """Heartbeats that do not come from the recorder."""
        return tuple(beat for source in self.sources for beat in source.heartbeats())

    def observe(self, now_ns: int) -> None:
        """Have every source sample again."""
        for source in self.sources:
            source.observe(now_ns)

    def disregard_until(self, until_ns: int, now_ns: int) -> None:
        """We held the process: its silence so far, and activity until then, is our doing."""
        self.watch.rebase_but_stopped(now_ns)
        for source in self.sources:
            source.disregard(until_ns)

    def note_first_beat(self, process: ProcessInfo) -> None:
        """Its recorder was read for the first time; ``process``: with its current name."""
        self.has_beaten = True
        self.process = process

    def note_exec(self, process: ProcessInfo) -> None:
        """It executed another program, which has its own recorder."""
        self.recorder_lost = None
        self.has_beaten = False
        self.process = process

    def lose_recorder(self, why: str) -> None:
        """From now on the recorder says nothing about this target; recorded once."""
        if self.recorder_lost is None:
            self.recorder_lost = why
            self.note(observed(FactCode.RECORDER_LOST, "recorder", why=why))

    def read_recording(self, now_ns: int) -> Recording | None:
        """Everything in its recorder; a recorder from before an exec is dropped here."""
        recording = self.recorder.read_recording(now_ns)
        if recording is not None and recording.pulse.exec_ns is not None and self.end is not None:
            self.lose_recorder("the last program that it became by exec carries no agent")
        return recording

    # Facts

    def rename(self, process: ProcessInfo) -> None:
        """The same process under its current name."""
        self.process = process

    def label(self, name: str, value: str) -> None:
        self.labels[name] = value

    def unlabel(self, name: str) -> None:
        """No effect if it has no such label."""
        self.labels.pop(name, None)

    def note(self, fact: Fact) -> None:
        """Adds one piece of evidence."""
        self._changes += 1
        if len(self.facts) < _FACTS_MAX:
            self.facts.append(fact)

    def note_soft_error(self, text: str) -> None:
        """Less was done than requested; recorded once."""
        if text not in self.soft_errors:
            self._changes += 1
            self.soft_errors.append(text)

    def note_request(self, request: Request) -> None:
        """A signal that was seen going to it; a later report of the same signal replaces the first."""
        self.withdraw_request(request)
        self.requests.append(request)
        del self.requests[:-_REQUESTS_KEPT]
        self.is_ended_by_policy |= request.by_policy

    def withdraw_request(self, request: Request) -> None:
        """It turned out not to have reached this target."""
        key = (request.signal, request.at_ns)
        self.requests = [known for known in self.requests if (known.signal, known.at_ns) != key]

    def note_hang(self, record: HangRecord) -> None:
        """A hang was detected."""
        self._changes += 1
        self.hangs.append(record)
        del self.hangs[_HANGS_KEPT // 2 : -_HANGS_KEPT // 2]

    def update_hang(self, record: HangRecord) -> None:
        """More is known of the last hang."""
        self._changes += 1
        self.hangs[-1] = record

    def note_dump(self, result: DumpResult) -> None:
        self._changes += 1
        self.dumps.append(result)
        if result.worker_failure:
            self.note(observed(FactCode.WORKER_FAILED, "monitor", text=result.worker_failure))

    def drop_dumps(self) -> tuple[DumpResult, ...]:
        """None of them is wanted; returns them."""
        dropped, self.dumps = tuple(self.dumps), []
        return dropped

    def note_crash(self, crash: Crash, sender: Sender | None, process: ProcessInfo) -> None:
        """Its crash handler has reported; ``process``: with its name at that time."""
        self._changes += 1
        self.crash, self.crash_sender, self.process = crash, sender, process

    def note_examination(self, document: Examination) -> None:
        """What the dump of its crash shows."""
        self._changes += 1
        self.examination = document

    def note_ended(self, now_ns: int) -> None:
        """Its end was seen; its status is not known yet."""
        self.ended_ns = now_ns

    def note_exit(self, end: Exit) -> None:
        """Its exit status."""
        self._changes += 1
        self.end = end
        self.watch.end()

    def set_verdict(self, incident: Incident) -> None:
        """The verdict on its end, as far as it is known."""
        self.incident = incident

    def note_recorded(self, uid: str | None) -> None:
        """A report is on its way to the store."""
        self.uid = uid

    def note_kept(self, kept: Kept) -> None:
        """What became of that report."""
        self.kept = kept

    def close(self) -> None:
        self.exit_watch.close()
        self.recorder.close()
        for source in self.sources:
            source.close()
