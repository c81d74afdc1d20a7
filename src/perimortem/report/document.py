"""An incident as its document (perimortem.documents.report). Pure."""

from __future__ import annotations

import json
from collections.abc import Iterable
from typing import Any

import msgspec

from perimortem.analysis.crash import describe_crash, name_crash
from perimortem.clock import format_rfc3339
from perimortem.documents import report as documents
from perimortem.exits.decode import describe_exit
from perimortem.exits.signals import signal_name
from perimortem.model.crash import Crash
from perimortem.model.dump import DumpResult
from perimortem.model.exits import Exit, Sender
from perimortem.model.incident import Incident, LastHeartbeat, WatchedHang
from perimortem.model.last_words import LastWords
from perimortem.model.recording import Event
from perimortem.model.stuck import StuckThreads
from perimortem.model.thread_sample import HangKind, ThreadActivity
from perimortem.model.tree import FirstDeath, TreeProcess
from perimortem.model.where import Where
from perimortem.model.who import Who
from perimortem.report.examination.text import render_stacks
from perimortem.report.sentences import describe_fact, describe_who

_THREADS_MAX = 20
_DEPTH_MAX = 100
"""Of a payload. Arbitrary; Python gives up at some hundreds."""


def render_document(incident: Incident, *, redact: bool = True) -> documents.Report:
    """The report; every key is always present, ``None`` means unknown.

    ``redact``: without the secrets that are known by name. What is stored, shown and written passes
    here."""
    report = _render(incident)
    if not redact:
        return report
    from perimortem.report.redact import redact_document  # its patterns are not for the start

    return redact_document(report)


def _render(incident: Incident) -> documents.Report:
    return documents.Report(
        schema_version=2,
        id=incident.number,
        host=documents.Host(incident.host.name, incident.host.kernel, incident.host.boot_id),
        verdict=incident.verdict,
        silent=incident.silent,
        who=_render_who(incident.who),
        where=_render_where(incident.where),
        started_at=format_rfc3339(incident.started_at_ns),
        ended_at=_time(incident.ended_at_ns),
        verdict_at=format_rfc3339(incident.verdict_at_ns),
        target=_render_target(incident),
        exit=_render_exit(incident.exit),
        crash=None if incident.crash is None else _render_crash(incident.crash),
        examination=incident.examination,
        last_heartbeat=None
        if incident.last_heartbeat is None
        else _render_heartbeat(incident.last_heartbeat),
        heartbeats=[_render_heartbeat(beat) for beat in incident.heartbeats],
        last_event=None
        if incident.last_event is None
        else render_event(incident.last_event, incident.last_event_at_ns),
        recent_events=[render_event(event, at) for at, event in incident.recent_events],
        hangs=[_render_hang(hang) for hang in incident.hangs],
        dumps=[render_dump(dump) for dump in incident.dumps],
        evidence=[
            documents.Evidence(
                code=fact.code,
                values=dict(fact.values),
                fact=describe_fact(fact.code, fact.values),
                source=fact.source,
                confidence=fact.confidence,
            )
            for fact in incident.evidence
        ],
        first_death=_render_first_death(incident.tree.first_death),
        processes=[
            _render_command(incident),
            *(_render_process(process) for process in incident.tree.processes),
        ],
        process_count=max(1, incident.tree.process_count),
        unwatched_count=incident.tree.unwatched_count,
        soft_errors=list(incident.soft_errors),
        last_words=None if incident.last_words is None else _render_words(incident.last_words),
        uid=incident.uid,
    )


def _render_words(words: LastWords) -> documents.LastWords:
    said = words.said
    return documents.LastWords(
        text=words.text,
        source=words.source,
        kind=said.kind if said is not None else None,
        said=said.text if said is not None else None,
        place=said.place if said is not None else None,
        file=said.file if said is not None else None,
    )


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else format_rfc3339(at_ns)


def _render_target(incident: Incident) -> documents.TargetProcess:
    target = incident.target
    if target is None:  # it never ran
        return documents.TargetProcess(
            pid=None,
            start_time=None,
            name=incident.command_line[0].replace("\\", "/").rsplit("/", 1)[-1],
            executable=None,
            command_line=list(incident.command_line),
            labels={},
        )
    return documents.TargetProcess(
        pid=target.ref.pid,
        start_time=format_rfc3339(target.started_at_ns),
        name=target.name,
        executable=target.executable,
        command_line=list(target.command_line),
        labels=dict(incident.labels),
    )


def _render_exit(end: Exit) -> documents.Exit:
    return documents.Exit(
        kind=end.kind,
        code=end.code,
        subcode=end.subcode,
        signal=end.signal,
        signal_name=None if end.signal is None else signal_name(end.signal),
        si_code=end.si_code,
        sender=_render_sender(end.sender),
        core_dumped=end.core_dumped,
        raw_status=end.raw_status,
        source=end.source,
        text=describe_exit(end),
    )


def _render_who(who: Who) -> documents.Who:
    return documents.Who(
        kind=who.kind,
        how=who.how,
        signal=who.signal,
        signal_name=None if who.signal is None else signal_name(who.signal),
        process=_render_sender(who.process),
        text=describe_who(who),
        confidence=who.confidence,
        source=who.source,
    )


def _render_sender(sender: Sender | None) -> documents.Process | None:
    return None if sender is None else documents.Process(sender.pid, sender.uid, sender.name)


def _render_where(where: Where | None) -> documents.Where | None:
    if where is None:
        return None
    return documents.Where(
        text=where.text,
        module=where.module,
        module_offset=None if where.module_offset is None else f"{where.module_offset:#x}",
        thread_name=where.thread_name,
        tid=where.tid,
    )


def _render_crash(crash: Crash) -> documents.Crash:
    return documents.Crash(
        code=crash.code,
        name=name_crash(crash),
        si_code=crash.si_code,
        address=f"{crash.address:#x}",
        program_counter=f"{crash.program_counter:#x}",
        module=crash.module,
        module_offset=f"{crash.module_offset:#x}" if crash.module else None,
        tid=crash.tid,
        thread_name=crash.thread_name,
        text=describe_crash(crash),
    )


def _render_heartbeat(beat: LastHeartbeat) -> documents.Heartbeat:
    return documents.Heartbeat(
        name=beat.name,
        age_s=round(beat.age_s, 3),
        threshold_s=beat.threshold_s,
        stale=beat.stale,
        at=format_rfc3339(beat.at_ns),
    )


def render_event(event: Event, at_ns: int | None) -> documents.TraceEvent:
    return documents.TraceEvent(event.name, _time(at_ns), _payload(event.payload))


def _payload(text: str) -> Any:
    """As JSON, if it is JSON and not so deep that it could not be written again; else as text."""
    try:
        value = json.loads(text)
    except (ValueError, RecursionError):
        return text
    return text if _is_deep(value) else value


def _is_deep(value: Any) -> bool:
    level = [value]
    for _ in range(_DEPTH_MAX):
        level = [child for parent in level for child in _list_children(parent)]
        if not level:
            return False
    return True


def _list_children(value: Any) -> Iterable[Any]:
    if isinstance(value, dict):
        return value.values()
    return value if isinstance(value, list) else ()


def _render_hang(watched: WatchedHang) -> documents.Hang:
    hang = watched.hang
    return documents.Hang(
        stopped=[
            documents.StoppedHeartbeat(beat.name, beat.threshold_ns / 1e9, beat.beaten)
            for beat in hang.stopped
        ],
        still_beating=list(hang.still_beating),
        last_beat_at=format_rfc3339(watched.last_beat_at_ns),
        detected_at=format_rfc3339(watched.detected_at_ns),
        recovered_at=_time(watched.recovered_at_ns),
        late_ms=round(watched.late_ms, 3),
        state=watched.state,
        kind=watched.cause.kind if watched.cause else HangKind.UNKNOWN,
        threads=[_render_activity(t) for t in watched.cause.threads[:_THREADS_MAX]]
        if watched.cause
        else [],
        stacks=None if watched.examination is None else render_stacks(watched.examination),
        examination=watched.examination,
        deadlock=_render_deadlock(watched.deadlock) if watched.deadlock is not None else [],
    )


def _render_deadlock(stuck: StuckThreads) -> list[documents.StuckThread]:
    return [
        documents.StuckThread(t.pid, t.tid, t.process, t.name, t.text, t.place, list(t.waits_for))
        for t in stuck.threads
    ]


def _render_activity(thread: ThreadActivity) -> documents.ThreadActivity:
    return documents.ThreadActivity(
        tid=thread.tid,
        name=thread.name,
        kind=thread.kind,
        text=thread.description,
        run_ms=round(thread.run_ms, 1),
        ready_ms=round(thread.ready_ms, 1),
    )


def render_dump(dump: DumpResult) -> documents.Dump:
    return documents.Dump(
        path=dump.path,
        type=f"{int(dump.types):#x}",
        size_bytes=dump.size_bytes,
        pause=dump.pause,
        target_paused_ms=dump.target_paused_ms,
        thread_count=dump.thread_count,
        soft_errors=list(dump.soft_errors),
        error=dump.error,
    )


def _render_command(incident: Incident) -> documents.TreeProcess:
    """The incident's own process, first in the list."""
    target = _render_target(incident)
    return documents.TreeProcess(
        pid=target.pid,
        parent_pid=incident.parent_pid,
        name=target.name,
        command_line=target.command_line,
        labels=target.labels,
        verdict=incident.verdict,
        exit=_render_exit(incident.exit),
        where=_render_where(incident.where),
        started_at=format_rfc3339(incident.started_at_ns),
        ended_at=_time(incident.ended_at_ns),
        id=incident.number,
    )


def _render_process(process: TreeProcess) -> documents.TreeProcess:
    return documents.TreeProcess(
        pid=process.pid,
        parent_pid=process.parent_pid,
        name=process.name,
        command_line=list(process.command_line),
        labels=dict(process.labels),
        verdict=process.verdict,
        exit=_render_exit(process.exit),
        where=_render_where(process.where),
        started_at=format_rfc3339(process.started_at_ns),
        ended_at=_time(process.ended_at_ns),
        id=process.number,
        why=process.why,
    )


def _render_first_death(first: FirstDeath | None) -> documents.FirstDeath | None:
    if first is None:
        return None
    return documents.FirstDeath(
        **msgspec.structs.asdict(_render_process(first.process)),
        followers=[documents.Followers(f.text, f.count) for f in first.followers],
        within_ms=round(first.within_ns / 1e6, 3),
    )
