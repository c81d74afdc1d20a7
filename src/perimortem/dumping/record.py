"""The contents of the flight recorder at the time of a dump, as the JSON of our own stream."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

from perimortem.clock import SystemClock, format_rfc3339
from perimortem.errors import MalformedInput
from perimortem.model.dump import MinidumpType
from perimortem.model.process import ProcessRef
from perimortem.model.recording import Event, Heartbeat
from perimortem.recorder import RecorderFile

_CODE_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_.-]{0,31}")
_EVENTS_LAST = 32
"""Of the events; MiniDumpWithFullAuxiliaryState has all."""


def read_record(
    path: Path | None, process: ProcessRef, types: MinidumpType
) -> dict[str, Any] | None:
    """None without a recorder, or if MiniDumpWithoutAuxiliaryState excludes it."""
    if path is None or types & MinidumpType.WITHOUT_AUXILIARY_STATE:
        return None
    clock = SystemClock()
    now_ns = clock.monotonic_ns()
    offset_ns = clock.realtime_ns() - now_ns
    try:
        recorder = RecorderFile(path, process)
    except (OSError, MalformedInput):
        return None
    try:
        recording = recorder.read_recording(now_ns)
    except (OSError, MalformedInput) as error:
        return {"error": str(error)}
    finally:
        recorder.close()
    is_shared = bool(types & MinidumpType.FILTER_TRIAGE)
    events = recording.events
    if not types & MinidumpType.WITH_FULL_AUXILIARY_STATE:
        events = events[-_EVENTS_LAST:]
    return {
        "taken_at": format_rfc3339(now_ns + offset_ns),
        "heartbeats": [
            _render_beat(b, now_ns, offset_ns, is_shared=is_shared)
            for b in recording.pulse.heartbeats
        ],
        "events": [_render_event(event, offset_ns, is_shared=is_shared) for event in events],
        "events_lost": recording.events_lost,
        "soft_errors": list(recording.soft_errors),
    }


def _render_beat(
    beat: Heartbeat, now_ns: int, offset_ns: int, *, is_shared: bool
) -> dict[str, Any]:
    return {
        "name": _reduce_name(beat.name) if is_shared else beat.name,
        "last_beat_at": format_rfc3339(beat.beat_ns + offset_ns) if beat.beaten else None,
        "age_s": round((now_ns - beat.beat_ns) / 1e9, 3),
        "threshold_s": beat.threshold_ns / 1e9 if beat.threshold_ns is not None else None,
        "is_paused": beat.paused,
    }


def _render_event(event: Event, offset_ns: int, *, is_shared: bool) -> dict[str, Any]:
    """``is_shared``: when, and what it is called in the code; not what it says."""
    at = format_rfc3339(event.monotonic_ns + offset_ns)
    if is_shared:
        return {"at": at, "name": _reduce_name(event.name)}
    try:
        payload = json.loads(event.payload)
    except (ValueError, RecursionError):
        payload = event.payload
    return {"at": at, "name": event.name, "payload": payload}


def _reduce_name(name: str) -> str:
    return name if _CODE_NAME.fullmatch(name) else "[removed]"
