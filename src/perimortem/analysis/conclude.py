"""From everything observed of a target to the conclusion: verdict, evidence, where. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.analysis.crash import describe_crash, is_cause
from perimortem.analysis.evidence import derive_evidence, describe_note
from perimortem.analysis.observations import (
    BeatAge,
    Observations,
    Request,
    add_traced,
    has_sent_itself,
)
from perimortem.analysis.verdict import (
    Beat,
    EndedBy,
    Facts,
    Goodbye,
    HangSeen,
    Row,
    StatusKind,
    find_row,
)
from perimortem.analysis.who import derive_who
from perimortem.exits import ntstatus
from perimortem.exits.signals import (
    KERNEL_RAISED,
    OWN_FAULT,
    SIGABRT,
    SIGKILL,
    SIGPIPE,
    STOP_REQUEST,
)
from perimortem.model.crash import Crash
from perimortem.model.exits import Exit, ExitKind, ExitSource, Sender
from perimortem.model.fact import Fact
from perimortem.model.recording import ExitFunction, ExitNote, merge_heartbeats
from perimortem.model.verdict import Verdict
from perimortem.model.where import Where
from perimortem.model.who import Who

_ANSWER_WINDOW_S = {2: 2.0, 15: 15.0}
"""An exit this soon after INT or TERM is its answer (a REPL handles Ctrl-C and continues; a server takes
its time to stop). HUP means "reload" to a daemon: only its own status counts. Arbitrary."""


@dataclass(frozen=True)
class Conclusion:
    """What the monitor concludes."""

    verdict: Verdict
    row: Row
    silent: bool | None
    where: Where | None
    beats: tuple[BeatAge, ...]
    last_beat: BeatAge | None
    sender: Sender | None
    evidence: tuple[Fact, ...]
    who: Who
    crash: Crash | None
    """The fault that ended it."""


def conclude(seen: Observations) -> Conclusion:
    """The verdict and its basis."""
    seen = add_traced(seen)
    beats = _derive_beats(seen)
    last_beat = choose_last_beat(beats)
    goodbye = _derive_goodbye(seen)
    request = _last_request(seen)
    note = _find_note(seen)
    crash = seen.crash if seen.crash and is_cause(seen.crash, seen.exit, note) else None
    status = derive_status_kind(seen.exit, note, has_run=seen.recording is not None)
    combination = Facts(
        status=StatusKind.FAULT if crash else status,
        goodbye=goodbye,
        beat=_derive_beat(beats),
        hang=_derive_hang(seen),
        ended_by=_derive_ended_by(seen, request, crash),
    )
    row = find_row(combination)
    is_sent = combination.ended_by is EndedBy.ANOTHER
    sender = _derive_sender(seen, request, crash) if is_sent else None
    facts = derive_evidence(seen, goodbye, last_beat, request, row, crash)
    was_announced = goodbye is Goodbye.SAID or crash is not None
    is_end = seen.exit.kind not in (ExitKind.RUNNING, ExitKind.NOT_STARTED)
    return Conclusion(
        verdict=row.verdict,
        row=row,
        silent=None if goodbye is Goodbye.NO_AGENT or not is_end else not was_announced,
        where=_derive_where(seen, crash),
        beats=beats,
        last_beat=last_beat,
        sender=sender,
        evidence=tuple(facts),
        who=derive_who(
            seen.exit, row.verdict, sender, [*facts, *seen.noted], has_crashed=crash is not None
        ),
        crash=crash,
    )


_STATUS_KINDS = {
    ExitKind.NOT_STARTED: StatusKind.NOT_STARTED,
    ExitKind.RUNNING: StatusKind.RUNNING,
    ExitKind.TERMINATED: StatusKind.SIGKILL,
}


def derive_status_kind(
    end: Exit, note: ExitNote | None = None, *, has_run: bool = False
) -> StatusKind:
    """The column of the verdict table for an exit. ``has_run``: its agent has been seen."""
    if end.kind in _STATUS_KINDS:
        return _STATUS_KINDS[end.kind]
    if end.kind is ExitKind.EXITED:
        is_abort = note is not None and note.function is ExitFunction.ABORT
        if is_abort and end.source in (ExitSource.PROCESS_HANDLE, ExitSource.ETW):
            return StatusKind.FAULT  # there abort() leaves with status 3
        return StatusKind.ZERO if end.code == 0 else StatusKind.NONZERO
    if end.kind is ExitKind.EXCEPTION:
        return _derive_exception_kind(end.code, has_run=has_run)
    if end.kind is ExitKind.SIGNALED and end.signal is not None:
        if end.signal == SIGKILL:
            return StatusKind.SIGKILL
        if end.signal == SIGPIPE:
            return StatusKind.BROKEN_PIPE
        if end.signal in OWN_FAULT or end.signal in KERNEL_RAISED:
            return StatusKind.FAULT
        return StatusKind.STOP_REQUEST if end.signal in STOP_REQUEST else StatusKind.OTHER_SIGNAL
    return StatusKind.UNKNOWN


def _derive_exception_kind(code: int | None, *, has_run: bool) -> StatusKind:
    if code in ntstatus.NOT_STARTED and not has_run:
        return StatusKind.NOT_STARTED
    if code in ntstatus.STOP_REQUESTS:
        return StatusKind.STOP_REQUEST
    return StatusKind.OTHER_SIGNAL if code == ntstatus.HUNG_WINDOW_KILL else StatusKind.FAULT


def choose_last_beat(beats: tuple[BeatAge, ...]) -> BeatAge | None:
    """The most telling heartbeat: the stalest one if any is stale, else the program's own newest.

    "process" and "progress" are observed from outside and show only that it was scheduled: they
    come last.
    """
    stale = [beat for beat in beats if beat.stale]
    if stale:
        return max(stale, key=lambda beat: beat.age_ns / beat.threshold_ns)
    beaten = [beat for beat in beats if beat.heartbeat.beaten]
    return min(
        beaten,
        key=lambda b: (
            b.heartbeat.name == "progress",
            b.heartbeat.name == "process",
            b.age_ns,
        ),
        default=None,
    )


def _derive_beats(seen: Observations) -> tuple[BeatAge, ...]:
    heartbeats = seen.recording.pulse.heartbeats if seen.recording else ()
    goodbye_ns = seen.recording.pulse.goodbye_ns if seen.recording else None
    heartbeats = merge_heartbeats(heartbeats, seen.observed)
    return tuple(
        BeatAge(
            heartbeat=heartbeat,
            age_ns=max(0, seen.ended_ns - heartbeat.beat_ns),
            threshold_ns=seen.watch.threshold_ns(heartbeat),
            stale=seen.watch.deadline_ns(heartbeat, goodbye_ns) <= seen.ended_ns,
        )
        for heartbeat in heartbeats
    )


def _derive_beat(beats: tuple[BeatAge, ...]) -> Beat:
    if any(beat.stale for beat in beats):
        return Beat.STALE
    return Beat.FRESH if any(beat.heartbeat.beaten for beat in beats) else Beat.NONE


def _derive_goodbye(seen: Observations) -> Goodbye:
    if not seen.has_agent or seen.recording is None:
        return Goodbye.NO_AGENT
    note = seen.recording.exit_note
    # A library's _exit after the program's goodbye (in a destructor, say) is still the library's.
    if note is not None and not note.is_wanted:
        return Goodbye.FOREIGN
    if seen.recording.pulse.goodbye_ns is not None:
        return Goodbye.SAID
    return Goodbye.NONE if seen.leaves_unseen is False else Goodbye.NO_AGENT


def _derive_hang(seen: Observations) -> HangSeen:
    if seen.hang_open:
        return HangSeen.OPEN
    return HangSeen.RECOVERED if seen.hang_count else HangSeen.NONE


def _last_request(seen: Observations) -> Request | None:
    """The request that this end answers; a signal that was handled and survived does not count."""
    for request in reversed(seen.requests):
        if request.signal == seen.exit.signal or _is_answer_of_windows(seen.exit, request):
            return request
        if seen.exit.kind is not ExitKind.EXITED or request.signal not in STOP_REQUEST:
            continue
        window_s = _ANSWER_WINDOW_S.get(request.signal, 0.0)
        is_answer = (seen.ended_ns - request.at_ns) / 1e9 <= window_s
        if is_answer or seen.exit.code == 128 + request.signal:
            return request
    return None


def _is_answer_of_windows(end: Exit, request: Request) -> bool:
    """On Windows a request shows in the exit code; a process that we terminate never exits by itself."""
    if end.kind is ExitKind.EXCEPTION:
        return end.code in ntstatus.STOP_REQUESTS and request.signal in STOP_REQUEST
    return request.by_policy and end.kind is ExitKind.TERMINATED


def _find_note(seen: Observations) -> ExitNote | None:
    return seen.recording.exit_note if seen.recording else None


def _derive_sender(
    seen: Observations, request: Request | None, crash: Crash | None
) -> Sender | None:
    if crash is not None and seen.crash_sender is not None:
        return seen.crash_sender
    return request.sender if request else None


def _derive_ended_by(seen: Observations, request: Request | None, crash: Crash | None) -> EndedBy:
    if crash is not None:
        return EndedBy.ANOTHER if seen.crash_sender is not None else EndedBy.ITSELF
    if seen.findings.oom_kill and seen.exit.signal in (SIGKILL, None):
        return EndedBy.OOM
    if request is not None:
        return EndedBy.ANOTHER
    if has_sent_itself(seen):
        return EndedBy.ITSELF
    note = _find_note(seen)
    if seen.findings.fault or seen.findings.seccomp or (note and seen.exit.kind is ExitKind.EXITED):
        return EndedBy.ITSELF
    if note is not None and seen.exit.signal == 6:
        return EndedBy.ITSELF
    return EndedBy.UNKNOWN


def _derive_where(seen: Observations, crash: Crash | None) -> Where | None:
    note = _find_note(seen)
    if crash is not None:
        is_abort = (
            crash.code == SIGABRT and note is not None and note.function is ExitFunction.ABORT
        )
        return _place_note(note) if note is not None and is_abort else _place_crash(crash)
    is_plain_leave = note is not None and note.is_wanted and seen.exit.code == 0
    if note is not None and not is_plain_leave:
        return _place_note(note)
    fault = seen.findings.fault
    if fault is not None and fault.module:
        offset = "" if fault.module_offset is None else f"+{fault.module_offset:#x}"
        return Where(f"faulted in {fault.module}{offset}", fault.module, fault.module_offset)
    return None


def _place_note(note: ExitNote) -> Where:
    offset = note.module_offset if note.module else None
    return Where(describe_note(note), note.module, offset, note.thread_name or None, note.tid)


def _place_crash(crash: Crash) -> Where:
    offset = crash.module_offset if crash.module else None
    return Where(describe_crash(crash), crash.module, offset, crash.thread_name or None, crash.tid)
