"""Heartbeats and events up to the end, each on its own track. Pure."""

from __future__ import annotations

import json
from datetime import datetime, timedelta

from perimortem.documents.report import (
    Hang,
    Heartbeat,
    Report,
    StoppedHeartbeat,
    TraceEvent,
)
from perimortem.report.html.element import Markup, element, join
from perimortem.report.units import format_duration, parse_time

_SPAN_MIN_S, _SPAN_MAX_S = 2.0, 3600.0
_BEYOND_STALEST = 1.6
"""How much earlier than the oldest of the last beats the timeline starts. Arbitrary."""


class _Axis:
    def __init__(self, start: datetime, end: datetime) -> None:
        self.start, self.end = start, end
        self._span_s = (end - start).total_seconds()

    def percent(self, at: datetime) -> float:
        share = (at - self.start).total_seconds() / self._span_s
        return round(100 * min(1.0, max(0.0, share)), 2)

    def bar(self, first: datetime, last: datetime, kind: str, title: str) -> Markup:
        left = self.percent(first)
        width = max(0.4, round(self.percent(last) - left, 2))
        return element("i", class_=kind, style=f"left:{left}%;width:{width}%", title=title)

    def tick(self, at: datetime, kind: str, title: str) -> Markup:
        return element("i", class_=f"tick {kind}", style=f"left:{self.percent(at)}%", title=title)


def render_timeline(report: Report) -> Markup | None:
    """None if there is neither a beat nor an event."""
    if not report.heartbeats and not report.recent_events:
        return None
    axis = _choose_axis(report)
    tracks = [_render_beat(axis, beat, report) for beat in report.heartbeats]
    known = {beat.name for beat in report.heartbeats}
    for hang in report.hangs:
        gone = [stopped for stopped in hang.stopped if stopped.name not in known]
        known |= {stopped.name for stopped in gone}
        tracks += [_render_gone_beat(axis, stopped, hang) for stopped in gone]
    events = [(parse_time(e.at), e) for e in report.recent_events if e.at is not None]
    if events:
        ticks = (axis.tick(at, _kind(event), _describe(at, event)) for at, event in events)
        tracks.append(_track("events", join(ticks), "logged by the program"))
    span_s = (axis.end - axis.start).total_seconds()
    end = "end" if report.ended_at else "now"
    return element(
        "section",
        element("h2", "Timeline"),
        element(
            "div",
            tracks,
            element("span", ""),
            element(
                "div",
                element("span", f"{format_duration(span_s)} before"),
                element("span", end),
                class_="axis",
            ),
            element("span", ""),
            class_="tracks",
        ),
        element(
            "p",
            element("i", class_="key beats"), " beating ",
            element("i", class_="key silent"), " silent within its limit ",
            element("i", class_="key stale"), " beyond it ",
            element("i", class_="key hang"), " reported as a hang",
            class_="legend",
        ),
        _render_events(events),
        id="timeline",
    )  # fmt: skip


def _choose_axis(report: Report) -> _Axis:
    end = parse_time(report.ended_at or report.verdict_at)
    times = [parse_time(beat.at) for beat in report.heartbeats]
    times += [parse_time(hang.last_beat_at) for hang in report.hangs]
    times += [parse_time(e.at) for e in report.recent_events if e.at]
    oldest = min(times, default=end)
    span_s = max(_SPAN_MIN_S, (end - oldest).total_seconds() * _BEYOND_STALEST)
    begin = end - timedelta(seconds=min(_SPAN_MAX_S, span_s))
    return _Axis(max(begin, min(parse_time(report.started_at), end - timedelta(seconds=1))), end)


def _render_beat(axis: _Axis, beat: Heartbeat, report: Report) -> Markup:
    last = parse_time(beat.at)
    limit = last + timedelta(seconds=beat.threshold_s)
    parts = [axis.bar(axis.start, last, "beats", f"last beat {beat.age_s:.1f} s before")]
    parts.append(axis.bar(last, min(limit, axis.end), "silent", "silent, within its limit"))
    if limit < axis.end:
        parts.append(axis.bar(limit, axis.end, "stale", "silent beyond its limit"))
    for hang in report.hangs:
        if any(stopped.name == beat.name for stopped in hang.stopped):
            over = parse_time(hang.recovered_at) if hang.recovered_at else axis.end
            parts.append(axis.bar(parse_time(hang.detected_at), over, "hang", "reported as a hang"))
    state = "stale" if beat.stale else "fresh"
    words = f"{beat.age_s:.1f} s of {beat.threshold_s:g} s, {state}"
    return _track(beat.name, join(parts), words)


def _render_gone_beat(axis: _Axis, stopped: StoppedHeartbeat, hang: Hang) -> Markup:
    """For a heartbeat that hung once and no longer existed at the end."""
    last = parse_time(hang.last_beat_at)
    limit = min(axis.end, last + timedelta(seconds=stopped.threshold_s))
    over = parse_time(hang.recovered_at) if hang.recovered_at else axis.end
    parts = (
        axis.bar(axis.start, last, "beats", "beating"),
        axis.bar(last, limit, "silent", "silent, within its limit"),
        axis.bar(limit, max(limit, over), "stale", "silent beyond its limit"),
        axis.bar(parse_time(hang.detected_at), over, "hang", "reported as a hang"),
    )
    return _track(stopped.name, join(parts), "closed before the end")


def _track(name: str, content: Markup, words: str) -> Markup:
    return join(
        element("span", name, class_="name"),
        element("div", content, class_="track", role="img", aria_label=f"{name}: {words}"),
        element("span", words, class_="words"),
    )


def _kind(event: TraceEvent) -> str:
    return "stats" if event.name == "system.stats" else "own"


def _describe(at: datetime, event: TraceEvent) -> str:
    payload = event.payload
    text = payload if isinstance(payload, str) else json.dumps(payload)
    return f"{at:%H:%M:%S.%f}"[:-3] + f" {event.name} {text}"


def _render_events(events: list[tuple[datetime, TraceEvent]]) -> Markup | None:
    if not events:
        return None
    return element(
        "details",
        element("summary", f"The last {len(events)} events"),
        element(
            "ol", (element("li", _describe(at, event)) for at, event in events), class_="events"
        ),
    )
