"""From everything observed of a target to its incident.

``Concluder`` collects what has to be read (recorder, system log); the rest of the file is pure.
"""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import PurePath

from perimortem.analysis.conclude import Conclusion, conclude
from perimortem.analysis.observations import BeatAge, Observations
from perimortem.clock import Clock
from perimortem.errors import LaunchFailed, PerimortemError
from perimortem.exits.sources import complete_exit
from perimortem.model.crash import Crash
from perimortem.model.evidence import Confidence
from perimortem.model.exits import Exit, ExitKind, ExitSource, Sender
from perimortem.model.fact import Fact, FactCode, derived, observed
from perimortem.model.incident import Host, Incident, LastHeartbeat, WatchedHang
from perimortem.model.process import ProcessInfo
from perimortem.model.recording import Event, Recording
from perimortem.model.system_log import SystemLog, SystemLogFindings
from perimortem.model.verdict import Verdict
from perimortem.model.who import How, Who, WhoKind
from perimortem.monitor.incident_uid import derive_uid
from perimortem.monitor.target import HangRecord, Target
from perimortem.reading import ProcessReader
from perimortem.text import printable

_RECENT_EVENTS = 20
_COMM_MAX = 15
"""So much of a file's name the kernel keeps as that of its process."""
_UNKNOWN_NAME = "(unknown program)"


@dataclass(frozen=True)
class WallClock:
    """Converts CLOCK_MONOTONIC to wall clock nanoseconds, using the offset at one instant."""

    offset_ns: int
    now_ns: int
    """The instant, wall clock."""

    @classmethod
    def read(cls, clock: Clock) -> WallClock:
        now_ns = clock.realtime_ns()
        return cls(now_ns - clock.monotonic_ns(), now_ns)

    def at(self, monotonic_ns: int) -> int:
        return monotonic_ns + self.offset_ns


@dataclass(frozen=True)
class Collected:
    """What was read for one verdict, besides the target itself."""

    recording: Recording | None
    findings: SystemLogFindings
    host: Host
    wall: WallClock
    """The time of the verdict."""
    monitor_pid: int
    leaves_unseen: bool | None = False
    """Its runtime exits by a direct system call (Go)."""


class Concluder:
    """Draws verdicts on one machine."""

    def __init__(
        self, host: Host, clock: Clock, system_log: SystemLog, reader: ProcessReader
    ) -> None:
        self._host = host
        self._clock = clock
        self._system_log = system_log
        self._reader = reader

    def conclude(self, target: Target) -> Incident:
        """The incident as known now; final once the target has ended."""
        findings = self._find(target)
        recording = target.read_recording(self._clock.monotonic_ns())
        target.rename(derive_name(target, recording))
        collected = Collected(
            recording,
            findings,
            self._host,
            WallClock.read(self._clock),
            os.getpid(),
            self._reader.leaves_by_own_system_call(target.process.executable),
        )
        return derive_incident(target, collected)

    def _find(self, target: Target) -> SystemLogFindings:
        """Findings of the system log. Skipped for a plain exit, since reading it takes time."""
        end = target.end
        # On Windows a large code may be an exception's; only the system log can confirm it.
        is_plain = end is None or (
            end.kind is ExitKind.EXITED
            and (end.code or 0) <= 0xFFFF
            and not (end.code and target.is_command)
        )
        if is_plain:
            return SystemLogFindings()
        try:
            return self._system_log(target.pid, target.tids)
        except (PerimortemError, OSError) as error:
            target.note_soft_error(f"the system's log could not be read: {error}")
            return SystemLogFindings()


def derive_name(target: Target, recording: Recording | None) -> ProcessInfo:
    """The process's name. If it died right after an exec, before it could be read, its recorder has it.

    The command keeps the name it was started by until it executes another program."""
    if target.end is not None and recording is not None and recording.pulse.exec_ns is not None:
        return _name_by_exec(target, recording.exec_name)
    name = target.recorder.name
    has_new_name = target.recorder.is_after_exec or not target.is_command
    if name is None or name == target.process.name or target.end is None or not has_new_name:
        return target.process
    if not target.recorder.is_after_exec:
        return replace(target.process, name=name)
    return _replace_name(target, name)


def _name_by_exec(target: Target, name: str | None) -> ProcessInfo:
    """The program that it executed last carries no agent; ``name``: its file's, if that is known."""
    process = target.process
    if process.name in ((name, name[:_COMM_MAX]) if name else ()):
        return process
    if name is None and process.name not in (target.recorder.name, str(target.pid)):
        return process  # it was read since; the pid stands for a name that could not be read
    executable = process.executable  # read after name and arguments
    is_current = name is not None and PurePath(executable or "").name == name
    renamed = _replace_name(target, name or _UNKNOWN_NAME)
    return replace(renamed, executable=executable) if is_current else renamed


def _replace_name(target: Target, name: str) -> ProcessInfo:
    """Program and arguments are from before the exec: better none than wrong ones."""
    command_line = target.process.command_line if target.is_command else ()
    return replace(target.process, name=name, executable=None, command_line=command_line)


def derive_incident(target: Target, collected: Collected) -> Incident:
    """The incident of ``target``, from its recorded facts and what was collected."""
    recording, wall = collected.recording, collected.wall
    ended_ns = target.ended_ns if target.ended_ns is not None else wall.now_ns - wall.offset_ns
    end = complete_exit(
        target.end or Exit(ExitKind.RUNNING, ExitSource.NONE),
        recording,
        collected.findings,
        is_ended_by_us=target.is_ended_by_policy,
    )
    conclusion = conclude(_observe(target, collected, end, ended_ns))
    events = _merge_events(target, recording)
    last_event = choose_last_event(events)
    process = target.process
    last_beat = conclusion.last_beat
    return Incident(
        host=collected.host,
        verdict=conclusion.verdict,
        silent=conclusion.silent,
        target=process,
        command_line=process.command_line,
        exit=replace(end, sender=conclusion.sender or end.sender),
        started_at_ns=process.started_at_ns,
        ended_at_ns=wall.at(ended_ns) if target.end is not None else None,
        verdict_at_ns=wall.now_ns,
        heartbeats=tuple(_derive_heartbeat(beat, wall) for beat in conclusion.beats),
        last_heartbeat=_derive_heartbeat(last_beat, wall) if last_beat else None,
        last_event=last_event,
        last_event_at_ns=wall.at(last_event.monotonic_ns) if last_event else None,
        recent_events=tuple(
            (wall.at(event.monotonic_ns), event) for event in events[-_RECENT_EVENTS:]
        ),
        where=conclusion.where,
        who=conclusion.who,
        hangs=tuple(_derive_hang(record, wall) for record in target.hangs),
        dumps=tuple(target.dumps),
        evidence=_gather_evidence(target, conclusion),
        soft_errors=(*target.soft_errors, *_derive_soft_errors(target, recording)),
        parent_pid=target.parent_pid,
        labels=tuple((target.labels | _find_test(last_event)).items()),
        crash=conclusion.crash,
        examination=target.examination,
        number=target.kept.number,
        uid=derive_uid(target.ref, collected.host.boot_id, target.owner_pid),
    )


def derive_launch_failure(
    argv: tuple[str, ...], error: LaunchFailed, host: Host, now_ns: int, uid: str
) -> Incident:
    """The incident of a program that could not be started. ``now_ns``: wall clock."""
    why = f"{error.why} ({error.remedy})" if error.remedy else error.why
    return Incident(
        host=host,
        verdict=Verdict.LAUNCH_FAILED,
        silent=None,
        target=None,
        command_line=tuple(printable(argument) for argument in argv),
        exit=Exit(ExitKind.NOT_STARTED, ExitSource.EXEC_ERROR, code=error.exit_status, error=why),
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
        evidence=(observed(FactCode.NOT_STARTED, "exec", why=why),),
        who=Who(WhoKind.NOBODY, How.NOT_STARTED, Confidence.OBSERVED, "exec"),
        soft_errors=(),
        uid=uid,
    )


def derive_link_failure(incident: Incident, why: str) -> Incident:
    """The same end, of a program that the dynamic linker gave up."""
    source = "dynamic linker"
    return replace(
        incident,
        verdict=Verdict.LAUNCH_FAILED,
        silent=None,
        exit=replace(incident.exit, error=why),
        who=Who(WhoKind.NOBODY, How.NOT_STARTED, Confidence.DERIVED, source),
        evidence=(*incident.evidence, derived(FactCode.NOT_STARTED, source, why=why)),
    )


def _observe(target: Target, collected: Collected, end: Exit, ended_ns: int) -> Observations:
    recording = collected.recording
    crash = target.crash or (recording.crash if recording else None)
    has_agent = recording is not None and not target.recorder_lost
    return Observations(
        exit=end,
        ended_ns=ended_ns,
        recording=None if target.recorder_lost else recording,
        observed=target.observed(),
        recording_error=target.recorder_lost or target.recorder.error,
        has_agent=has_agent,
        leaves_unseen=collected.leaves_unseen,
        watch=target.watch,
        hang_open=target.open_hang is not None,
        hang_count=len(target.hangs),
        requests=tuple(target.requests),
        findings=collected.findings,
        monitor_pid=collected.monitor_pid,
        noted=(*target.exit_watch.facts, *target.facts),
        has_crash_handler=target.has_crash_handler and has_agent,
        crash=crash,
        crash_sender=_find_crash_sender(target, crash),
    )


def _find_crash_sender(target: Target, crash: Crash | None) -> Sender | None:
    """The other process that sent the signal; a note from the recorder alone does not identify it."""
    if target.crash is not None or crash is None:
        return target.crash_sender
    if crash.sender_pid is None or crash.sender_pid in (0, target.pid):
        return None
    return Sender(crash.sender_pid, crash.sender_uid, None)


def _gather_evidence(target: Target, conclusion: Conclusion) -> tuple[Fact, ...]:
    return (*conclusion.evidence, *target.exit_watch.facts, *target.facts)


def _merge_events(target: Target, recording: Recording | None) -> tuple[Event, ...]:
    """The recorder's and the observer's events, in chronological order."""
    events = [*(recording.events if recording else ())]
    has_stats = any(event.name == "system.stats" for event in events)
    for source in target.sources:
        events += [e for e in source.events() if not (has_stats and e.name == "system.stats")]
    return tuple(sorted(events, key=lambda event: event.monotonic_ns))


def choose_last_event(events: tuple[Event, ...]) -> Event | None:
    """The program's own last event; "system.stats" is ours and counts only if there is no other."""
    own = [event for event in events if event.name != "system.stats"]
    return own[-1] if own else events[-1] if events else None


def _find_test(last_event: Event | None) -> dict[str, str]:
    """The test that pytest was running, from its plugin's last event (agent.pytest_plugin)."""
    if last_event is None or last_event.name != "pytest.test":
        return {}
    try:
        payload = json.loads(last_event.payload)
        found = {
            "PYTEST_CURRENT_TEST": payload["test"],
            "PYTEST_XDIST_WORKER": payload.get("worker"),
        }
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError):
        return {}
    return {name: printable(text) for name, text in found.items() if isinstance(text, str)}


def _derive_heartbeat(beat: BeatAge, wall: WallClock) -> LastHeartbeat:
    return LastHeartbeat(
        name=beat.heartbeat.name,
        age_s=beat.age_ns / 1e9,
        threshold_s=beat.threshold_ns / 1e9,
        stale=beat.stale,
        at_ns=wall.at(beat.heartbeat.beat_ns),
    )


def _derive_hang(record: HangRecord, wall: WallClock) -> WatchedHang:
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
        deadlock=record.deadlock,
    )


def _derive_soft_errors(target: Target, recording: Recording | None) -> list[str]:
    errors = list(recording.soft_errors) if recording else []
    if target.recorder.error and not target.recorder_lost:
        errors.append(f"the recorder could not be read: {target.recorder.error}")
    if recording and recording.events_lost:
        errors.append(f"{recording.events_lost} older events were overwritten")
    return errors
