"""The wait-for graph as a picture: each lock cycle as a column with its way back. Pure."""

from __future__ import annotations

from perimortem.documents.examination import Examination, Wait
from perimortem.report.html.element import Markup, element

_WIDTH, _BOX, _STEP, _LEFT = 380, 34, 84, 48


def render_lock_graph(examination: Examination) -> Markup | None:
    """None if there is no cycle."""
    if not examination.deadlocks:
        return None
    waits = {wait.tid: wait for wait in examination.waits}
    names = {thread.tid: thread.name for thread in examination.threads}
    pictures = (
        element(
            "figure",
            _draw(deadlock.tids, waits, names),
            element("figcaption", deadlock.text),
        )
        for deadlock in examination.deadlocks
    )
    return element("section", element("h2", "Locks"), pictures, id="locks")


def _draw(tids: list[int], waits: dict[int, Wait], names: dict[int, str]) -> Markup:
    height = _STEP * (len(tids) - 1) + _BOX + 8
    middle = _LEFT + (_WIDTH - _LEFT) / 2
    parts: list[Markup] = []
    for index, tid in enumerate(tids):
        top = 4 + index * _STEP
        parts.append(
            element(
                "rect",
                x=f"{_LEFT}",
                y=f"{top}",
                width=f"{_WIDTH - _LEFT - 4}",
                height=f"{_BOX}",
                rx="6",
            )
        )
        label = f"{names.get(tid) or 'thread'} {tid}"
        parts.append(_text(middle, top + _BOX / 2 + 5, label, "node"))
        if index + 1 < len(tids):
            parts.append(_line(f"M{middle} {top + _BOX} V{top + _STEP - 3}"))
            lock = _describe_lock(waits.get(tid))
            parts.append(_text(middle + 10, top + _BOX + 29, lock, "edge", anchor="start"))
    first, last = 4 + _BOX / 2, 4 + (len(tids) - 1) * _STEP + _BOX / 2
    if len(tids) == 1:
        parts.append(_line(f"M{_LEFT} {first - 6} H16 V{first + 6} H{_LEFT - 3}"))
    else:
        parts.append(_line(f"M{_LEFT} {last} H16 V{first} H{_LEFT - 3}"))
    lock = _describe_lock(waits.get(tids[-1]))
    parts.append(
        element(
            "text",
            lock,
            class_="edge",
            text_anchor="middle",
            transform=f"translate(11 {(first + last) / 2}) rotate(-90)",
        )
        if len(tids) > 1
        else _text(middle, height - 2, lock, "edge")
    )
    return element(
        "svg",
        element(
            "defs",
            element(
                "marker",
                element("path", d="M0 0 L8 4 L0 8 z"),
                id="arrow",
                viewBox="0 0 8 8",
                refX="7",
                refY="4",
                markerWidth="7",
                markerHeight="7",
                orient="auto",
            ),
        ),
        parts,
        viewBox=f"0 0 {_WIDTH} {height + (18 if len(tids) == 1 else 0)}",
        role="img",
        aria_label=f"a cycle of {len(tids)} threads that wait for each other",
        class_="locks",
    )


def _describe_lock(wait: Wait | None) -> str:
    if wait is None:
        return ""
    name = wait.name or (wait.address if wait.kind != "gil" else "")
    return f"{wait.kind.replace('-', ' ')} {name}".strip()


def _line(path: str) -> Markup:
    return element("path", d=path, class_="line", marker_end="url(#arrow)")


def _text(x: float, y: float, text: str, kind: str, anchor: str = "middle") -> Markup:
    return element("text", text, x=f"{x}", y=f"{y}", class_=kind, text_anchor=anchor)
