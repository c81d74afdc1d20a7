"""Threads with their stacks; equal stacks are merged. Pure."""

from __future__ import annotations

from perimortem.documents.examination import Examination, Fold, Frame, ReasonEvidence, ThreadStack
from perimortem.documents.report import Evidence, Report
from perimortem.report.examination.text import group_threads
from perimortem.report.html.element import Markup, element, join
from perimortem.report.sentences import HOW_FOUND

_OPEN_MAX = 1


def render_threads(examination: Examination) -> Markup:
    locked = {tid for deadlock in examination.deadlocks for tid in deadlock.tids}
    groups = group_threads(examination.threads, locked)
    waits = {wait.tid: wait.text for wait in examination.waits}
    count = len(examination.threads)
    return element(
        "section",
        element("h2", f"Threads ({count})"),
        element(
            "label",
            "Filter ",
            element(
                "input", type="search", id="filter", placeholder="function, file, module, thread"
            ),
            class_="filter",
        )
        if count > 1
        else None,
        (
            _render_group(group, waits, is_open=index < _OPEN_MAX or group[0].tid in locked)
            for index, group in enumerate(groups)
        ),
        id="threads",
    )


def _render_group(group: list[ThreadStack], waits: dict[int, str], *, is_open: bool) -> Markup:
    first = group[0]
    name = first.name or "thread"
    title = f"{name} {first.tid}" if len(group) == 1 else f"{len(group)} threads: {name} ..."
    marks = [*(["crashed"] if first.crashed else []), *first.notes]
    tids = ", ".join(str(thread.tid) for thread in group) if len(group) > 1 else None
    wait = waits.get(first.tid)
    return element(
        "details",
        element(
            "summary",
            element("b", title),
            (element("span", mark, class_=_tone(mark)) for mark in marks),
            element("span", _innermost(first), class_="top"),
        ),
        element("p", tids, class_="tids") if tids else None,
        element("p", wait, class_="wait") if wait else None,
        element("ol", _render_frames(first), class_="frames"),
        None if first.whole else element("p", f"no more frames: {first.end}", class_="end"),
        id=f"t{first.tid}",
        class_="thread",
        open=is_open,
    )


def _tone(mark: str) -> str:
    return "chip bad" if mark == "crashed" else "chip"


def _innermost(thread: ThreadStack) -> str:
    names = (frame.function for frame in thread.frames if frame.function)
    return next(names, "").split("(", 1)[0]


def _render_frames(thread: ThreadStack) -> list[Markup]:
    rows: list[Markup] = []
    last = -1
    for frame in thread.frames:
        number = frame.number
        fold = next((f for f in thread.folds if f.start <= number < _end(f)), None)
        if fold is not None and number >= fold.start + fold.period:
            if last < fold.start + fold.period:
                what = (
                    "this frame repeats"
                    if fold.period == 1
                    else (f"these {fold.period} frames repeat")
                )
                words = f"{what}: frames {number:,} to {_end(fold) - 1:,}"
                rows.append(element("li", words, class_="fold"))
            last = number
            continue
        if number > last + 1 and not any(f.start <= last + 1 < _end(f) for f in thread.folds):
            words = f"frames {last + 1:,} to {number - 1:,} are not shown"
            rows.append(element("li", words, class_="fold"))
        rows += _render_frame(frame)
        last = number
    return rows


def _end(fold: Fold) -> int:
    return int(fold.start + fold.period * fold.count)


def _render_frame(frame: Frame) -> list[Markup]:
    rows = [
        element(
            "li",
            element("span", "", class_="number"),
            element(
                "span",
                element("b", line.function or "?"),
                element("small", f"{line.file}:{line.line}"),
                element("span", "inlined", class_="chip"),
            ),
        )
        for line in frame.inlined
    ]
    source = frame.source
    place = f"{source.file}:{source.line}" if source is not None else ""
    if not place and frame.module is not None:
        offset = frame.offset if frame.function else frame.module_offset
        place = f"{frame.module}" + (f"+{offset}" if not frame.function else f", +{offset}")
    guessed = HOW_FOUND.get(frame.trust)
    rows.append(
        element(
            "li",
            element("span", f"{frame.number}", class_="number"),
            element(
                "span",
                element("b", frame.function or frame.address),
                element("small", place) if place else None,
                element("span", "Python", class_="chip python")
                if frame.language == "python"
                else None,
                element("span", guessed, class_="chip") if guessed else None,
            ),
        )
    )
    return rows


def render_missing(examination: Examination) -> Markup | None:
    """What limited the examination."""
    lines = [f"{m.module}: {m.text}" for m in examination.missing] + examination.notes
    if not lines:
        return None
    return element(
        "section",
        element("h2", "What was not found"),
        element("ul", (element("li", line) for line in lines)),
        id="missing",
    )


def render_evidence(report: Report | None, examination: Examination | None) -> Markup | None:
    """Every fact, with its source and confidence."""
    facts: list[Evidence | ReasonEvidence] = []
    if report is not None:
        facts += report.evidence
    if examination is not None and examination.reason is not None:
        facts += examination.reason.evidence
    if not facts:
        return None
    rows = (
        element(
            "li",
            fact.fact,
            " ",
            element("span", f"{fact.confidence}: {fact.source}", class_="chip"),
        )
        for fact in facts
    )
    return element("section", element("h2", "Evidence"), element("ul", join(rows)), id="evidence")
