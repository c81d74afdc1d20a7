"""The document of an examination as text. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from perimortem.documents.examination import (
    Deadlock,
    Examination,
    Fold,
    Frame,
    ThreadStack,
    Wait,
)
from perimortem.report.sentences import HOW_FOUND

_INDENT = " " * 10
_SYSTEM_SOURCE = re.compile(r"/include/(?:[^/]+/)?c\+\+/|^/rustc/|^/usr/include/")
"""Where a function lies whose name does not say that it is a library's."""
_LIBRARIES = ("std::", "__gnu_cxx::", "core::", "alloc::", "boost::")
_AGENT = "perimortem"
"""Marks a thread that explains nothing."""


def render_stacks(document: Examination, *, tid: int | None = None, full: bool = False) -> str:
    """Which thread waits for which, then every thread but the agent's own; equal stacks are merged.

    ``full``: every thread separately.
    """
    lines: list[str] = []
    for deadlock in document.deadlocks:
        head, *waits = list_deadlock(document, deadlock)
        lines += [head, *(f"  {wait}" for wait in waits), ""]
    in_deadlock = {tid for deadlock in document.deadlocks for tid in deadlock.tids}
    others = [w.text for w in document.waits if w.tid not in in_deadlock and _is_informative(w)]
    lines += [*others, ""] if others else []
    threads = [t for t in document.threads if tid is None or t.tid == tid]
    if tid is None and not full:
        threads = [t for t in threads if t.name != _AGENT]
    for group in [[t] for t in threads] if full else group_threads(threads, in_deadlock):
        first = group[0]
        lines.append(_head(group))
        lines += [f"  {line}" for line in render_frames(first, full=full)]
        if not first.whole or not first.frames:
            lines.append(f"  {'...' if first.frames else 'none'}: {first.end}")
        lines.append("")
    return "\n".join(lines).rstrip("\n") + "\n"


def list_deadlock(document: Examination, deadlock: Deadlock) -> list[str]:
    """ "deadlock of 2 threads:", and what each of them waits for."""
    waits = {wait.tid: wait.text for wait in document.waits}
    head, _, _ = deadlock.text.partition(":")
    return [f"{head}:", *(waits[tid] for tid in deadlock.tids if tid in waits)]


def render_frames(thread: ThreadStack, *, full: bool = False) -> list[str]:
    """ "#0  0x7f12 pause+0x32 in libc.so.6", with repeated frames folded."""
    lines: list[str] = []
    folds = [] if full else list(thread.folds)
    width = len(str(max(0, thread.frame_count - 1)))
    last = -1
    for frame in thread.frames:
        number = frame.number
        fold = next((f for f in folds if f.start <= number < _end(f)), None)
        if fold is not None and number >= fold.start + fold.period:
            if number == fold.start + fold.period:
                what = (
                    "the frame above repeats"
                    if fold.period == 1
                    else (f"the {fold.period} frames above repeat")
                )
                lines.append(
                    f"{'':{width + 2}} frames {number:,}-{_end(fold) - 1:,}: {what} "
                    f"({fold.count - 1:,} times)"
                )
            last = number
            continue
        if number > last + 1 and not any(f.start <= last + 1 < _end(f) for f in folds):
            lines.append(f"{'':{width + 2}} frames {last + 1:,}-{number - 1:,} are not shown")
        lines += _render_frame(frame, width)
        last = number
    return lines


def _end(fold: Fold) -> int:
    return int(fold.start + fold.period * fold.count)


def _render_frame(frame: Frame, width: int) -> list[str]:
    number = f"#{frame.number}"
    head = f"{number:<{width + 1}} "
    lines = []
    # Inlined functions come first: they are the inner calls.
    for line in frame.inlined:
        lines.append(f"{head} {line.function or '?'} at {line.file}:{line.line} (inlined)")
        head = " " * (width + 2)
    mark = " (Python)" if frame.language == "python" else describe_trust(frame)
    lines.append(f"{head} {describe_frame(frame)}{mark}")
    return lines


def describe_innermost(frame: Frame) -> str:
    """Its place in the source: in the innermost inlined function, unless that belongs to a library."""
    for line in frame.inlined:
        is_library = line.function is None or line.function.startswith(_LIBRARIES)
        if not is_library and not _SYSTEM_SOURCE.search(line.file):
            place = f"{line.function} at {line.file}:{line.line}"
            return f"{place}, inlined into {frame.function}"
    return describe_frame(frame)


def describe_trust(frame: Frame) -> str:
    """ "  [found by search]"; empty for a frame that is certain."""
    how = HOW_FOUND.get(frame.trust)
    return f"  [{how}]" if how else ""


def describe_frame(frame: Frame) -> str:
    """ "main+0x1f at server.c:12", "0x7f12 in libc.so.6+0x1f"."""
    if frame.function is None:
        place = frame.address or "?"
        if frame.module is not None:
            place += f" in {frame.module}+{frame.module_offset}"
        return place
    text = frame.function
    if frame.source is not None:
        return f"{text} at {frame.source.file}:{frame.source.line}"
    text += f"+{frame.offset}" if frame.offset not in (None, "0x0") else ""
    return text + (f" in {frame.module}" if frame.module else "")


def _head(group: list[ThreadStack]) -> str:
    first = group[0]
    name = f" ({first.name})" if first.name else ""
    text = f"thread {first.tid}{name}"
    if len(group) > 1:
        others = ", ".join(str(t.tid) for t in group[1:6])
        more = f" and {len(group) - 6} more" if len(group) > 6 else ""
        text = f"{len(group)} threads: {first.tid}{name}, {others}{more}"
    notes = [*(["crashed"] if first.crashed else []), *first.notes]
    return text + (f" [{'; '.join(notes)}]" if notes else "")


def group_threads(threads: list[ThreadStack], apart: set[int]) -> list[list[ThreadStack]]:
    """Threads with equal frames, in the order of the first of them; a crashed one first.

    ``apart``: threads that are shown separately.
    """
    groups: dict[object, list[ThreadStack]] = {}
    for thread in threads:
        key: object = tuple(
            (f.address, f.function, f.source and f.source.line) for f in thread.frames
        )
        if thread.crashed or not thread.frames or thread.tid in apart:
            key = thread.tid
        groups.setdefault((key, thread.end, *thread.notes), []).append(thread)
    return sorted(groups.values(), key=lambda group: not group[0].crashed)


def _is_informative(wait: Wait) -> bool:
    """The other waits are those of idle threads."""
    is_lock = wait.kind in ("mutex", "rwlock", "futex")
    return wait.owner_tid is not None or (is_lock and wait.detail != "")


def render_analysis(document: Examination, *, name: str, running: Sequence[str] = ()) -> str:
    """What happened, where, the likely culprit; the stack of the crashed thread.

    ``running``: of a process that lives, what its threads wait for."""
    lines: list[str] = []
    reason, signature = document.reason, document.signature
    if reason is not None:
        _add(lines, "what", reason.text)
        _add(lines, "how", f"{reason.exception} in thread {_thread(document, reason.tid)}")
        if reason.instruction is not None:
            _add(lines, "code", reason.instruction)
        if reason.message is not None and reason.message not in reason.text:
            _add(lines, "said", reason.message)
    else:
        _add_no_reason(lines, document, running)
    if signature is not None:
        blamed = _blamed(document)
        if blamed is not None:
            _add(lines, "where", blamed)
        _add(lines, "sign", signature.text)
    crashed = next((t for t in document.threads if t.crashed), None)
    shown = crashed or _most_informative(document)
    if shown is not None and shown.frames:
        _add(lines, "stack", f"thread {_thread(document, shown.tid)}")
        lines += [_INDENT + line for line in render_frames(shown)]
        if not shown.whole:
            lines.append(f"{_INDENT}...: {shown.end}")
    elif crashed is not None:
        _add(lines, "stack", f"thread {_thread(document, crashed.tid)}: {crashed.end}")
    if reason is not None:
        _add_deadlocks(lines, "locks", document)
    for missing in document.missing:
        _add(lines, "missing", f"{missing.module}: {missing.text}")
    for note in document.notes:
        _add(lines, "note", note)
    debug = "" if name.isdecimal() else f" · perimortem debug {name}"
    _add(lines, "next", f"perimortem stack {name}{debug}")
    return "\n".join(lines) + "\n"


def _add_no_reason(lines: list[str], document: Examination, running: Sequence[str]) -> None:
    if document.deadlocks:
        _add_deadlocks(lines, "what", document)
    elif document.exception_lost:
        _add(lines, "what", "not known: the dump has an exception, which is cut off or damaged")
    else:
        for line in running or ("no crash: a dump of a running process",):
            _add(lines, "what", line)


def _add_deadlocks(lines: list[str], label: str, document: Examination) -> None:
    for deadlock in document.deadlocks:
        head, *waits = list_deadlock(document, deadlock)
        _add(lines, label, head)
        lines += [f"{_INDENT}  {wait}" for wait in waits]


def _most_informative(document: Examination) -> ThreadStack | None:
    tids = [tid for deadlock in document.deadlocks for tid in deadlock.tids]
    return next((t for t in document.threads if not tids or t.tid in tids), None)


def _blamed(document: Examination) -> str | None:
    number = document.signature.blamed_frame if document.signature is not None else None
    crashed = next((t for t in document.threads if t.crashed), None)
    if number is None or crashed is None:
        return None
    frame = next((f for f in crashed.frames if f.number == number), None)
    if frame is None:
        return None
    return f"{describe_innermost(frame)}  (frame {number}){describe_trust(frame)}"


def _thread(document: Examination, tid: int) -> str:
    name = next((t.name for t in document.threads if t.tid == tid), "")
    return f"{tid} ({name})" if name else str(tid)


def _add(lines: list[str], label: str, text: str) -> None:
    """A label is written once for consecutive lines."""
    head = f"  {label:<8}"
    for line in reversed(lines):
        if not line.startswith(_INDENT):
            head = _INDENT if line.startswith(head) else head
            break
    lines.append(head + text)
