"""Threads that wait for each other, as a picture: each circle as a column with its way back. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from perimortem.documents.examination import Deadlock, Examination, Wait
from perimortem.documents.report import Report, StuckThread
from perimortem.report.html.element import Markup, element

_WIDTH, _BOX, _STEP, _LEFT, _ARROW = 380, 34, 84, 32, 64
_LABEL_MAX = 40
_DRAWN_MAX = 12
"""Threads of a circle; of a larger one the text names some."""


@dataclass(frozen=True)
class _Node:
    """A thread, and what it waits for: the next one has it."""

    label: str
    lock: str


def render_lock_graph(report: Report | None, examination: Examination | None) -> Markup | None:
    """From the waits of all processes of a hang, or else from the stacks. None if there is no circle."""
    found = [hang.deadlock for hang in report.hangs if hang.deadlock] if report is not None else []
    circles = [(threads, _list_nodes(threads)) for threads in found if _is_circle(threads)]
    pictures = [_picture(nodes, _describe(threads)) for threads, nodes in circles]
    if not pictures and examination is not None:
        pictures = [
            _picture(_list_examined(deadlock, examination), deadlock.text)
            for deadlock in examination.deadlocks
        ]
    if not pictures:
        return None
    return element("section", element("h2", "Locks"), pictures, id="locks")


def _is_circle(threads: Sequence[StuckThread]) -> bool:
    """Each waits for the next one alone, and the last one for the first."""
    following = [*threads[1:], threads[0]]
    return len(threads) <= _DRAWN_MAX and all(
        thread.waits_for == [other.tid] for thread, other in zip(threads, following, strict=True)
    )


def _list_nodes(threads: Sequence[StuckThread]) -> list[_Node]:
    has_several = len({thread.pid for thread in threads}) > 1
    return [
        _Node(
            f"{thread.process}[{thread.pid}] {thread.tid}" if has_several else _label(thread),
            _shorten(thread.text.split(", held by")[0]),
        )
        for thread in threads
    ]


def _label(thread: StuckThread) -> str:
    return f"{thread.name or 'thread'} {thread.tid}"


def _describe(threads: Sequence[StuckThread]) -> str:
    said = "; ".join(
        f"thread {t.tid} ({t.name}) waits"
        + (f" in {t.place}" if t.place else "")
        + f" for {t.text}"
        for t in threads
    )
    names = " and ".join(dict.fromkeys(f"{thread.process}[{thread.pid}]" for thread in threads))
    return f"deadlock of {names}: {said}"


def _list_examined(deadlock: Deadlock, examination: Examination) -> list[_Node]:
    waits = {wait.tid: wait for wait in examination.waits}
    names = {thread.tid: thread.name for thread in examination.threads}
    return [
        _Node(f"{names.get(tid) or 'thread'} {tid}", _describe_lock(waits.get(tid)))
        for tid in deadlock.tids
    ]


def _shorten(text: str) -> str:
    return text if len(text) <= _LABEL_MAX else text[: _LABEL_MAX - 1] + "…"


def _picture(nodes: Sequence[_Node], caption: str) -> Markup:
    return element("figure", _draw(nodes), element("figcaption", caption))


def _draw(nodes: Sequence[_Node]) -> Markup:
    height = _STEP * (len(nodes) - 1) + _BOX + 8
    middle = _LEFT + (_WIDTH - _LEFT) / 2
    parts: list[Markup] = []
    for index, node in enumerate(nodes):
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
        parts.append(_text(middle, top + _BOX / 2 + 5, node.label, "node"))
        if index + 1 < len(nodes):
            parts.append(_line(f"M{_ARROW} {top + _BOX} V{top + _STEP - 3}"))
            parts.append(_text(_ARROW + 10, top + _BOX + 29, node.lock, "edge", anchor="start"))
    first, last = 4 + _BOX / 2, 4 + (len(nodes) - 1) * _STEP + _BOX / 2
    if len(nodes) == 1:
        parts.append(_line(f"M{_LEFT} {first - 6} H16 V{first + 6} H{_LEFT - 3}"))
    else:
        parts.append(_line(f"M{_LEFT} {last} H16 V{first} H{_LEFT - 3}"))
    parts.append(_text(_LEFT, height + 12, nodes[-1].lock, "edge", anchor="start"))
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
        viewBox=f"0 0 {_WIDTH} {height + 18}",
        role="img",
        aria_label=f"a circle of {len(nodes)} threads that wait for each other",
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
