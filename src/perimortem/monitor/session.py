"""Everything known of one target while it is watched, and the incident it ends in."""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from perimortem.analyze.conclude import Conclusion, conclude
from perimortem.analyze.hang_cause import describe_cause
from perimortem.analyze.observations import BeatAge, Observations, Request
from perimortem.beats.process_state import ProcessStateBeat
from perimortem.beats.source import BeatSource
from perimortem.clock import Clock
from perimortem.dump.naming import choose_ending, dump_name
from perimortem.exits import ntstatus
from perimortem.exits.sources import ExitWatch
from perimortem.model.crash import Crash
from perimortem.model.dump import DumpOptions, DumpResult
from perimortem.model.evidence import Confidence, Evidence
from perimortem.model.exits import Exit, ExitKind, ExitSource, Sender
from perimortem.model.hang import Hang
from perimortem.model.incident import Host, Incident, LastHeartbeat, WatchedHang
from perimortem.model.process import ProcessInfo
from perimortem.model.recording import Event, Heartbeat, Pulse, Recording, merge_heartbeats
from perimortem.model.system_log import SystemLogFindings
from perimortem.model.thread_sample import HangCause, HangKind
from perimortem.model.verdict import Verdict
from perimortem.monitor.recorder_link import RecorderLink
from perimortem.proc import leaves_by_own_system_call
from perimortem.text import printable
from perimortem.watch.target import TargetWatch

_RECENT_EVENTS = 20
_EVIDENCE_MAX = 200
"""Of one process: what hangs again and again says the same each time. Arbitrary."""


@dataclass
class HangRecord:
    """A hang while it is being looked into."""

    hang: Hang
    facts: tuple[str, ...]
    """What its sources said of it."""
    state: str | None
    """What the kernel said of its main thread at once; the cause takes its place."""
    examined: Session
    """Whose dump and stacks are taken: a wrapper that waits has nothing to show."""
    cause: HangCause | None = None
    """By two looks; None until the second."""
    examination: dict[str, Any] | None = None

    def describe(self) -> str | None:
        """What is known of its threads, in words."""
        is_told = self.cause is not None and self.cause.kind is not HangKind.UNKNOWN
        known = describe_cause(self.cause) if self.cause and is_told else self.state
        if self.facts and self.cause and self.cause.kind is HangKind.LOCK:
            known = None  # its sources have said that already, and more
        return "; ".join([*self.facts, *([known] if known else [])]) or None


@dataclass
class Session:
    """One target under watch."""

    target: ProcessInfo
    exit_watch: ExitWatch
    recorder: RecorderLink
    watch: TargetWatch
    watched_since_ns: int
    sources: list[BeatSource] = field(default_factory=list)
    """Heartbeats that do not come from its recorder."""
    parent_pid: int | None = None
    is_met_dead: bool = False
    """It had ended before we could hold it: when, is not known."""
    is_command: bool = True
    """False for a process that came from the one that was asked for."""
    labels: dict[str, str] = field(default_factory=dict)
    """RANK and its like."""
    hangs: list[HangRecord] = field(default_factory=list)
    dumps: list[DumpResult] = field(default_factory=list)
    requests: list[Request] = field(default_factory=list)
    evidence: list[Evidence] = field(default_factory=list)
    soft_errors: list[str] = field(default_factory=list)
    has_beaten: bool = False
    """Its recorder has been read: whatever exec stood between us and the program is over."""
    heartbeats_lost: str | None = None
    """Why the recorder means nothing any more (exec without the agent, damaged)."""
    has_crash_handler: bool = False
    """It was started with one, if it carries the agent."""
    crash: Crash | None = None
    """What its crash handler told."""
    crash_sender: Sender | None = None
    """The other process that sent the signal of it."""
    is_answer_due: bool = False
    """Its crash handler waits for us: that it is silent is our doing."""
    is_dumped_at_end: bool = False
    """A worker waits for its end (--capture-exit), and has not answered yet."""
    is_looked_at: bool = False
    """A hang of it was told, and the second look is to come."""
    examination: dict[str, Any] | None = None
    """What was read from the dump of its crash: docs/examination.schema.json."""
    is_examined: bool = False
    """The examiner has answered, whatever came of it."""
    end: Exit | None = None
    ended_ns: int | None = None
    ended_by_policy: bool = False
    """We sent it a fatal signal, as --on-hang asked."""
    incident: Incident | None = None
    number: int | None = None
    """Its number in the store, from the first hang on or from the end."""

    @property
    def pid(self) -> int:
        return self.target.ref.pid

    def read_pulse(self, now_ns: int) -> Pulse | None:
        """The recorder's heartbeats, and those of the other sources; None when there is none."""
        pulse = None if self.heartbeats_lost else self.recorder.read_pulse(now_ns)
        observed = self.observed()
        if pulse is None:
            return Pulse(self.target.ref, observed, None, None, None) if observed else None
        return replace(pulse, heartbeats=merge_heartbeats(pulse.heartbeats, observed))

    def observed(self) -> tuple[Heartbeat, ...]:
        """Heartbeats that do not come from the recorder."""
        return tuple(beat for source in self.sources for beat in source.heartbeats())

    def observe(self, now_ns: int) -> None:
        """Have every source look again."""
        for source in self.sources:
            source.observe(now_ns)

    def disregard(self, until_ns: int) -> None:
        """We held the process ourselves."""
        for source in self.sources:
            source.disregard(until_ns)

    @property
    def tids(self) -> set[int]:
        """Threads that were seen."""
        seen = {self.pid}
        for source in self.sources:
            if isinstance(source, ProcessStateBeat):
                seen |= source.tids
        return seen

    @property
    def open_hang(self) -> HangRecord | None:
        """The hang that lasts, if one does."""
        if self.hangs and self.hangs[-1].hang.recovered_ns is None:
            return self.hangs[-1]
        return None

    def add_evidence(self, fact: str, source: str, confidence: Confidence) -> None:
        if len(self.evidence) < _EVIDENCE_MAX:
            self.evidence.append(Evidence(fact, source, confidence))

    def lose_recorder(self, why: str) -> None:
        """From now on the recorder says nothing of this target; told once."""
        if self.heartbeats_lost is None:
            self.heartbeats_lost = why
            self.add_evidence(f"its recorder says nothing: {why}", "recorder", Confidence.OBSERVED)

    def close(self) -> None:
        self.exit_watch.close()
        self.recorder.close()
        for source in self.sources:
            source.close()


class WallClock:
    """CLOCK_MONOTONIC to wall clock, by the offset now: for the times in a report."""

    def __init__(self, clock: Clock) -> None:
        self._offset_ns = clock.realtime_ns() - clock.monotonic_ns()

    def at(self, monotonic_ns: int) -> int:
        return monotonic_ns + self._offset_ns


def derive_incident(
    session: Session, host: Host, clock: Clock, words: SystemLogFindings
) -> tuple[Incident, Conclusion]:
    """The incident as it stands now: final when the target has ended, else that of its hang."""
    now_ns = clock.monotonic_ns()
    wall = WallClock(clock)
    ended_ns = session.ended_ns if session.ended_ns is not None else now_ns
    recording = session.recorder.read_recording(now_ns)
    if recording is not None and recording.pulse.exec_ns is not None and session.end is not None:
        session.lose_recorder("the last program that it became by exec carries no agent")
    end = _complete(session, recording, words)
    end = replace(end, subcode=words.fast_fail_code)
    crash = session.crash or (recording.crash if recording else None)
    conclusion = conclude(
        Observations(
            exit=end,
            ended_ns=ended_ns,
            recording=None if session.heartbeats_lost else recording,
            observed=session.observed(),
            recording_error=session.heartbeats_lost or session.recorder.error,
            has_agent=recording is not None and not session.heartbeats_lost,
            leaves_unseen=leaves_by_own_system_call(session.target),
            watch=session.watch,
            hang_open=session.open_hang is not None,
            hang_count=len(session.hangs),
            requests=tuple(session.requests),
            words=words,
            monitor_pid=os.getpid(),
            has_crash_handler=session.has_crash_handler and recording is not None,
            crash=crash,
            crash_sender=_find_sender(session, crash),
        )
    )
    events = _merge_events(session, recording)
    last_event = choose_last_event(events)
    verdict_at_ns = clock.realtime_ns()
    session.target = _renew_name(session)
    incident = Incident(
        host=host,
        verdict=conclusion.verdict,
        silent=conclusion.silent,
        target=session.target,
        command_line=session.target.command_line,
        exit=replace(end, sender=conclusion.sender or end.sender),
        started_at_ns=session.target.started_at_ns,
        ended_at_ns=wall.at(ended_ns) if session.end is not None else None,
        verdict_at_ns=verdict_at_ns,
        heartbeats=tuple(_last_heartbeat(beat, wall) for beat in conclusion.beats),
        last_heartbeat=_last_heartbeat(conclusion.last_beat, wall)
        if conclusion.last_beat
        else None,
        last_event=last_event,
        last_event_at_ns=wall.at(last_event.monotonic_ns) if last_event else None,
        recent_events=tuple((wall.at(event.monotonic_ns), event) for event in events),
        where=conclusion.where,
        hangs=tuple(_watched(record, wall) for record in session.hangs),
        dumps=tuple(session.dumps),
        evidence=(*conclusion.evidence, *session.exit_watch.evidence, *session.evidence),
        soft_errors=(*session.soft_errors, *_soft_errors(session, recording)),
        parent_pid=session.parent_pid,
        labels=tuple((session.labels | _find_test(last_event)).items()),
        crash=conclusion.crash,
        examination=session.examination,
        number=session.number,
    )
    return incident, conclusion


def _find_sender(session: Session, crash: Crash | None) -> Sender | None:
    """The other process that sent the signal; a note from the recorder alone has no name of it."""
    if session.crash is not None or crash is None:
        return session.crash_sender
    if crash.sender_pid in (None, 0, session.pid):
        return None
    assert crash.sender_pid is not None
    return Sender(crash.sender_pid, crash.sender_uid, None)


def _renew_name(session: Session) -> ProcessInfo:
    """It died too soon after an exec to be asked for its new name: the recorder has it.

    The command itself is called as it was called, until it becomes another program."""
    name = session.recorder.name
    is_told = session.recorder.is_after_exec or not session.is_command
    if name in (None, session.target.name) or session.end is None or not is_told:
        return session.target
    assert name is not None
    # Program and arguments are those from before the exec: better none than wrong ones.
    is_renewed = session.recorder.is_after_exec
    kept = session.target if not is_renewed else replace(session.target, executable=None)
    command_line = () if is_renewed and not session.is_command else kept.command_line
    return replace(kept, name=name, command_line=command_line)


def _complete(session: Session, recording: Recording | None, words: SystemLogFindings) -> Exit:
    """Where no source knows the status, the goodbye does. And on Windows the agent hears of every
    ExitProcess: where it did not, the process was terminated; perhaps by ourselves."""
    end = session.end or Exit(ExitKind.RUNNING, ExitSource.NONE)
    if end.source in (ExitSource.PROCESS_HANDLE, ExitSource.ETW):
        return _complete_on_windows(session, end, recording, words)
    if end.kind is not ExitKind.UNKNOWN or recording is None:
        return end
    status = recording.pulse.goodbye_status
    if recording.pulse.goodbye_ns is None or status is None or status < 0:
        return end
    return Exit(ExitKind.EXITED, ExitSource.GOODBYE, code=status & 0xFF)


def _complete_on_windows(
    session: Session, end: Exit, recording: Recording | None, words: SystemLogFindings
) -> Exit:
    """An exception never comes to ExitProcess: who did leaves with a code that only looks like one, a
    child's for instance. And who says goodbye and then leaves no note has not left by himself."""
    has_left = recording is not None and recording.exit_note is not None
    if session.ended_by_policy and not has_left:
        return replace(end, kind=ExitKind.TERMINATED)
    if end.kind is ExitKind.EXCEPTION:
        is_own_code = has_left and end.code not in ntstatus.STOP_REQUESTS
        return replace(end, kind=ExitKind.EXITED) if is_own_code else end
    if words.exception_code is not None and words.exception_code == end.code:
        return replace(end, kind=ExitKind.EXCEPTION)
    if recording is not None and not has_left:
        return replace(end, kind=ExitKind.TERMINATED)
    return end


def launch_failure(argv: tuple[str, ...], why: str, host: Host, exit_status: int) -> Incident:
    """The incident of a program that could not be started."""
    now_ns = time.time_ns()
    end = Exit(ExitKind.NOT_STARTED, ExitSource.EXEC_ERROR, code=exit_status, error=why)
    return Incident(
        host=host,
        verdict=Verdict.LAUNCH_FAILED,
        silent=None,
        target=None,
        command_line=tuple(printable(argument) for argument in argv),
        exit=end,
        started_at_ns=now_ns,
        ended_at_ns=now_ns,
        verdict_at_ns=now_ns,
        heartbeats=(),
        last_heartbeat=None,
        last_event=None,
        last_event_at_ns=None,
        recent_events=(),
        where=None,
        hangs=(),
        dumps=(),
        evidence=(Evidence(why, "exec", Confidence.OBSERVED),),
        soft_errors=(),
    )


def _merge_events(session: Session, recording: Recording | None) -> tuple[Event, ...]:
    """The recorder's and the observer's, in the order of time, the last twenty."""
    events = [*(recording.events if recording else ())]
    has_stats = any(event.name == "system.stats" for event in events)
    for source in session.sources:
        events += [e for e in source.events() if not (has_stats and e.name == "system.stats")]
    return tuple(sorted(events, key=lambda event: event.monotonic_ns)[-_RECENT_EVENTS:])


def choose_last_event(events: tuple[Event, ...]) -> Event | None:
    """The program's own last word; "system.stats" is ours and counts when nothing else is."""
    own = [event for event in events if event.name != "system.stats"]
    return own[-1] if own else events[-1] if events else None


def _find_test(last_event: Event | None) -> dict[str, str]:
    """What pytest was at, by the plugin's last word (agent.pytest_plugin); named as pytest does."""
    if last_event is None or last_event.name != "pytest.test":
        return {}
    try:
        said = json.loads(last_event.payload)
        found = {"PYTEST_CURRENT_TEST": said["test"], "PYTEST_XDIST_WORKER": said.get("worker")}
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return {name: printable(text) for name, text in found.items() if isinstance(text, str)}


def dump_path(directory: Path, session: Session, unix_s: int, options: DumpOptions) -> Path:
    """Where a dump of this target goes."""
    return directory / dump_name(session.target.name, unix_s, session.pid, choose_ending(options))


def _last_heartbeat(beat: BeatAge, wall: WallClock) -> LastHeartbeat:
    return LastHeartbeat(
        name=beat.heartbeat.name,
        age_s=beat.age_ns / 1e9,
        threshold_s=beat.threshold_ns / 1e9,
        stale=beat.stale,
        at_ns=wall.at(beat.heartbeat.beat_ns),
    )


def _watched(record: HangRecord, wall: WallClock) -> WatchedHang:
    hang = record.hang
    first = min(hang.stopped, key=lambda beat: beat.last_beat_ns + beat.threshold_ns)
    late_ns = hang.detected_ns - first.last_beat_ns - first.threshold_ns
    return WatchedHang(
        hang=hang,
        last_beat_at_ns=wall.at(first.last_beat_ns),
        detected_at_ns=wall.at(hang.detected_ns),
        recovered_at_ns=None if hang.recovered_ns is None else wall.at(hang.recovered_ns),
        late_ms=late_ns / 1e6,
        state=record.describe(),
        cause=record.cause,
        examination=record.examination,
    )


def _soft_errors(session: Session, recording: Recording | None) -> list[str]:
    errors = list(recording.soft_errors) if recording else []
    if session.recorder.error and not session.heartbeats_lost:
        errors.append(f"the recorder could not be read: {session.recorder.error}")
    if recording and recording.events_lost:
        errors.append(f"{recording.events_lost} older events were overwritten")
    return errors
