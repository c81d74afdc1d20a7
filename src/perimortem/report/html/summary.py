"""The first screen: what, why, where, who, when, and the last good state. Pure."""

from __future__ import annotations

from perimortem.documents.examination import Examination
from perimortem.documents.report import Dump, Report
from perimortem.report.examination.text import describe_frame, describe_innermost, list_deadlock
from perimortem.report.html.element import Markup, element, join
from perimortem.report.text import (
    describe_hang,
    describe_last,
    describe_suspicions,
    describe_who,
)
from perimortem.report.units import format_duration, parse_time, warn_of_memory

_GOOD = ("clean-exit", "stopped")


def render_header(report: Report | None, examination: Examination | None) -> Markup:
    """The verdict, the process, and how long it had lived."""
    if report is not None:
        verdict, target = report.verdict.value, report.target
        name = f"{target.name}[{target.pid}]" if target.pid else target.name
        end = report.ended_at or report.verdict_at
        lived_s = (parse_time(end) - parse_time(report.started_at)).total_seconds()
        tail = f"after {format_duration(lived_s)}"
    else:
        assert examination is not None
        verdict = "crash" if examination.reason else "hang" if examination.deadlocks else "dump"
        program = (examination.program or "?").replace("\\", "/").rsplit("/", 1)[-1]
        name, tail = f"{program}[{examination.pid}]", ""
    tone = "good" if verdict in _GOOD else "plain" if verdict in ("unknown", "dump") else "bad"
    return element(
        "header",
        element("p", verdict.replace("-", " "), class_=f"verdict {tone}"),
        element("h1", name),
        element("p", tail, class_="lived") if tail else None,
        element("button", "Theme", id="theme", type="button", title="light or dark (t)"),
    )


def render_summary(report: Report | None, examination: Examination | None) -> Markup:
    rows: list[tuple[str, Markup | str]] = []
    if report is not None:
        rows.append(("What", report.exit.text))
        rows += [("Hang", describe_hang(hang)) for hang in report.hangs]
        rows += [("Waits", text) for text in describe_suspicions(report)]
    rows += _list_reasons(examination)
    place = _render_place(report, examination)
    if place is not None:
        rows.append(("Where", place))
    if report is not None:
        if report.exit.kind != "running":
            rows.append(("Who", describe_who(report)))
        rows.append(("When", _render_when(report)))
        last = describe_last(report)
        if last:
            rows.append(("Last good state", join(element("div", line) for line in last)))
        for dump in report.dumps:
            rows.append(("Dump", _render_dump(dump)))
    if examination is not None and examination.signature is not None:
        rows.append(("Signature", element("code", examination.signature.text)))
    return element(
        "section",
        element(
            "dl", (join(element("dt", label), element("dd", content)) for label, content in rows)
        ),
        id="summary",
        aria_label="Summary",
    )


def _render_dump(dump: Dump) -> Markup | str:
    if dump.path is None:
        return f"none: {dump.error}"
    warning = warn_of_memory(int(dump.type, 16))
    return join(element("div", line) for line in (dump.path, warning) if line)


def _list_reasons(examination: Examination | None) -> list[tuple[str, Markup | str]]:
    if examination is None:
        return []
    rows: list[tuple[str, Markup | str]] = []
    reason = examination.reason
    if reason is not None:
        lines = [element("div", reason.text, class_="reason")]
        detail = reason.exception
        if reason.instruction:
            detail += f", {reason.instruction}"
        lines.append(element("div", element("code", detail)))
        if reason.message and reason.message not in reason.text:
            lines.append(element("div", f"Message: {reason.message}"))
        rows.append(("Why", join(lines)))
    for deadlock in examination.deadlocks:
        lines = [element("div", line) for line in list_deadlock(examination, deadlock)]
        rows.append(("Why", join(lines)))
    return rows


def _render_place(report: Report | None, examination: Examination | None) -> Markup | str | None:
    signature = examination.signature if examination else None
    crashed = next((t for t in examination.threads if t.crashed), None) if examination else None
    if signature is not None and crashed is not None and signature.blamed_frame is not None:
        number = signature.blamed_frame
        frame = next((f for f in crashed.frames if f.number == number), None)
        if frame is not None:
            name = f"{crashed.name} " if crashed.name else ""
            link = element("a", f"thread {name}({crashed.tid})", href=f"#t{crashed.tid}")
            return join(element("code", describe_innermost(frame)), ", ", link)
    if report is not None and report.where:
        return str(report.where.text)
    return _render_place_of_hang(examination) if examination is not None else None


def _render_place_of_hang(examination: Examination) -> Markup | None:
    """Where the threads of a deadlock stand: the program's own innermost frame of each."""
    tids = {tid for deadlock in examination.deadlocks for tid in deadlock.tids}
    program = (examination.program or "").replace("\\", "/").rsplit("/", 1)[-1]
    lines = []
    for thread in examination.threads:
        own = (f for f in thread.frames if f.language == "python" or f.module == program)
        frame = next(own, None)
        if thread.tid in tids and frame is not None:
            link = element("a", f"thread {thread.tid}", href=f"#t{thread.tid}")
            lines.append(element("div", link, ": ", element("code", describe_frame(frame))))
    return join(lines) if lines else None


def _render_when(report: Report) -> str:
    started = parse_time(report.started_at)
    ended = parse_time(report.ended_at) if report.ended_at else None
    text = started.strftime("%Y-%m-%d %H:%M:%S")
    if ended is None:
        text += " UTC to now"
    elif ended.date() == started.date():
        text += f" to {ended:%H:%M:%S.%f}"[:-3] + " UTC"
    else:
        text += f" to {ended:%Y-%m-%d %H:%M:%S} UTC"
    return f"{text}, on {report.host.name}, {report.host.kernel}"
