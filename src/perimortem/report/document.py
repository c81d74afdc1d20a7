"""An incident as the JSON document of docs/report.schema.json. Pure."""

from __future__ import annotations

import json
from typing import Any

from perimortem.analysis.crash import describe_crash, name_crash
from perimortem.clock import format_rfc3339
from perimortem.exits.decode import describe_exit
from perimortem.exits.signals import signal_name
from perimortem.model.crash import Crash
from perimortem.model.dump import DumpResult
from perimortem.model.exits import Exit
from perimortem.model.incident import Incident, LastHeartbeat, WatchedHang
from perimortem.model.recording import Event
from perimortem.model.thread_sample import ThreadActivity
from perimortem.model.tree import FirstDeath, TreeProcess
from perimortem.model.where import Where
from perimortem.model.who import Who
from perimortem.report.examination.text import render_stacks
from perimortem.report.sentences import describe_fact, describe_who

SCHEMA_VERSION = 2
_THREADS_MAX = 20


def render_document(incident: Incident) -> dict[str, Any]:
    """The report; every key is always present, ``None`` means unknown."""
    return {
        "schema_version": SCHEMA_VERSION,
        "id": incident.number,
        "host": {
            "name": incident.host.name,
            "kernel": incident.host.kernel,
            "boot_id": incident.host.boot_id,
        },
        "verdict": incident.verdict.value,
        "silent": incident.silent,
        "who": _render_who(incident.who),
        "where": _render_where(incident.where),
        "started_at": format_rfc3339(incident.started_at_ns),
        "ended_at": _time(incident.ended_at_ns),
        "verdict_at": format_rfc3339(incident.verdict_at_ns),
        "target": _render_target(incident),
        "exit": _render_exit(incident.exit),
        "crash": incident.crash and _render_crash(incident.crash),
        "examination": incident.examination,
        "last_heartbeat": _render_heartbeat(incident.last_heartbeat),
        "heartbeats": [_render_heartbeat(beat) for beat in incident.heartbeats],
        "last_event": _render_event(incident.last_event, incident.last_event_at_ns),
        "recent_events": [_render_event(event, at) for at, event in incident.recent_events],
        "hangs": [_render_hang(hang) for hang in incident.hangs],
        "dumps": [render_dump(dump) for dump in incident.dumps],
        "evidence": [
            {
                "code": fact.code.value,
                "values": dict(fact.values),
                "fact": describe_fact(fact.code, fact.values),
                "source": fact.source,
                "confidence": fact.confidence.value,
            }
            for fact in incident.evidence
        ],
        "first_death": _render_first_death(incident.tree.first_death),
        "processes": [
            _render_command(incident),
            *(_render_process(process) for process in incident.tree.processes),
        ],
        "process_count": max(1, incident.tree.process_count),
        "unwatched_count": incident.tree.unwatched_count,
        "soft_errors": list(incident.soft_errors),
    }


def _time(at_ns: int | None) -> str | None:
    return None if at_ns is None else format_rfc3339(at_ns)


def _render_target(incident: Incident) -> dict[str, Any]:
    target = incident.target
    if target is None:  # it never ran
        return {
            "pid": None,
            "start_time": None,
            "name": incident.command_line[0].replace("\\", "/").rsplit("/", 1)[-1],
            "executable": None,
            "command_line": list(incident.command_line),
            "labels": {},
        }
    return {
        "pid": target.ref.pid,
        "start_time": format_rfc3339(target.started_at_ns),
        "name": target.name,
        "executable": target.executable,
        "command_line": list(target.command_line),
        "labels": dict(incident.labels),
    }


def _render_exit(end: Exit) -> dict[str, Any]:
    sender = end.sender
    return {
        "kind": end.kind.value,
        "code": end.code,
        "subcode": end.subcode,
        "signal": end.signal,
        "signal_name": None if end.signal is None else signal_name(end.signal),
        "si_code": end.si_code,
        "sender": sender and {"pid": sender.pid, "uid": sender.uid, "name": sender.name},
        "core_dumped": end.core_dumped,
        "raw_status": end.raw_status,
        "source": end.source.value,
        "text": describe_exit(end),
    }


def _render_who(who: Who) -> dict[str, Any]:
    process = who.process
    return {
        "kind": who.kind.value,
        "how": who.how.value,
        "signal": who.signal,
        "signal_name": None if who.signal is None else signal_name(who.signal),
        "process": process and {"pid": process.pid, "uid": process.uid, "name": process.name},
        "text": describe_who(who),
        "confidence": who.confidence.value,
        "source": who.source,
    }


def _render_where(where: Where | None) -> dict[str, Any] | None:
    if where is None:
        return None
    return {
        "text": where.text,
        "module": where.module,
        "module_offset": None if where.module_offset is None else f"{where.module_offset:#x}",
        "thread_name": where.thread_name,
        "tid": where.tid,
    }


def _render_crash(crash: Crash) -> dict[str, Any]:
    return {
        "code": crash.code,
        "name": name_crash(crash),
        "si_code": crash.si_code,
        "address": f"{crash.address:#x}",
        "program_counter": f"{crash.program_counter:#x}",
        "module": crash.module,
        "module_offset": f"{crash.module_offset:#x}" if crash.module else None,
        "tid": crash.tid,
        "thread_name": crash.thread_name,
        "text": describe_crash(crash),
    }


def _render_heartbeat(beat: LastHeartbeat | None) -> dict[str, Any] | None:
    if beat is None:
        return None
    return {
        "name": beat.name,
        "age_s": round(beat.age_s, 3),
        "threshold_s": beat.threshold_s,
        "stale": beat.stale,
        "at": format_rfc3339(beat.at_ns),
    }


def _render_event(event: Event | None, at_ns: int | None) -> dict[str, Any] | None:
    if event is None:
        return None
    return {"name": event.name, "at": _time(at_ns), "payload": _payload(event.payload)}


def _payload(text: str) -> Any:
    """The payload as JSON if it is JSON, else as text."""
    try:
        return json.loads(text)
    except (ValueError, RecursionError):
        return text


def _render_hang(watched: WatchedHang) -> dict[str, Any]:
    hang = watched.hang
    return {
        "stopped": [
            {"name": beat.name, "threshold_s": beat.threshold_ns / 1e9, "beaten": beat.beaten}
            for beat in hang.stopped
        ],
        "still_beating": list(hang.still_beating),
        "last_beat_at": format_rfc3339(watched.last_beat_at_ns),
        "detected_at": format_rfc3339(watched.detected_at_ns),
        "recovered_at": _time(watched.recovered_at_ns),
        "late_ms": round(watched.late_ms, 3),
        "state": watched.state,
        "kind": watched.cause.kind.value if watched.cause else "unknown",
        "threads": [_render_activity(t) for t in watched.cause.threads[:_THREADS_MAX]]
        if watched.cause
        else [],
        "stacks": watched.examination and render_stacks(watched.examination),
        "examination": watched.examination,
    }


def _render_activity(thread: ThreadActivity) -> dict[str, Any]:
    return {
        "tid": thread.tid,
        "name": thread.name,
        "kind": thread.kind.value,
        "text": thread.description,
        "run_ms": round(thread.run_ms, 1),
        "ready_ms": round(thread.ready_ms, 1),
    }


def render_dump(dump: DumpResult) -> dict[str, Any]:
    return {
        "path": dump.path,
        "type": f"{int(dump.types):#x}",
        "size_bytes": dump.size_bytes,
        "pause": str(dump.pause),
        "target_paused_ms": dump.target_paused_ms,
        "thread_count": dump.thread_count,
        "soft_errors": list(dump.soft_errors),
        "error": dump.error,
    }


def _render_command(incident: Incident) -> dict[str, Any]:
    """The incident's own process, first in the list."""
    target = _render_target(incident)
    return {
        "pid": target["pid"],
        "parent_pid": incident.parent_pid,
        "name": target["name"],
        "command_line": target["command_line"],
        "labels": target["labels"],
        "verdict": incident.verdict.value,
        "exit": _render_exit(incident.exit),
        "where": _render_where(incident.where),
        "started_at": format_rfc3339(incident.started_at_ns),
        "ended_at": _time(incident.ended_at_ns),
        "id": incident.number,
    }


def _render_process(process: TreeProcess) -> dict[str, Any]:
    return {
        "pid": process.pid,
        "parent_pid": process.parent_pid,
        "name": process.name,
        "command_line": list(process.command_line),
        "labels": dict(process.labels),
        "verdict": process.verdict and process.verdict.value,
        "exit": _render_exit(process.exit),
        "where": _render_where(process.where),
        "started_at": format_rfc3339(process.started_at_ns),
        "ended_at": _time(process.ended_at_ns),
        "id": process.number,
    }


def _render_first_death(first: FirstDeath | None) -> dict[str, Any] | None:
    if first is None:
        return None
    return {
        **_render_process(first.process),
        "followers": [{"exit": f.text, "count": f.count} for f in first.followers],
        "within_ms": round(first.within_ns / 1e6, 3),
    }
