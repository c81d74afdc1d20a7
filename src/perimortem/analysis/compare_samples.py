"""Two samples of the stacks of a process: what has not moved is stuck, what has is slow. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from perimortem.model.stack import Frame, Language, ThreadStack
from perimortem.model.thread_sample import HangKind, ThreadActivity


def compare_samples(
    first: Iterable[ThreadStack],
    second: Iterable[ThreadStack],
    apart_ms: float,
    activity: Iterable[ThreadActivity] = (),
) -> tuple[ThreadStack, ...]:
    """``second``, each stack with a note on how it changed since ``first``.

    ``activity``: what the threads did between the samples."""
    before = {stack.tid: stack for stack in first}
    busy = {thread.tid: thread.description for thread in activity if thread.kind is HangKind.BUSY}
    return tuple(
        _compare(before.get(stack.tid), stack, apart_ms, busy.get(stack.tid, ""))
        for stack in second
    )


def _compare(
    before: ThreadStack | None, now: ThreadStack, apart_ms: float, busy: str
) -> ThreadStack:
    """``busy``: "ran 99% of the time"; empty if it did not run much."""
    if before is None:
        note = f"new: it did not exist {apart_ms:.0f} ms before"
    elif _keys(before.frames) == _keys(now.frames):
        note = f"the same stack {apart_ms:.0f} ms before"
        note = f"busy: {note}, but it {busy}" if busy else note
    else:
        kept = _count_common(before.frames, now.frames)
        note = f"it moves: {kept} of {len(now.frames)} frames are as {apart_ms:.0f} ms before"
        place = _find_place(now.frames[-kept:]) if kept else ""
        note += f", from {place} on" if place else ""
        note += f"; busy: it {busy}" if busy else ""
    return replace(now, notes=(*now.notes, note))


def _keys(frames: tuple[Frame, ...]) -> list[tuple[int, int, object]]:
    return [
        (
            frame.pc,
            frame.stack_pointer,
            frame.source and frame.source.line if frame.language is Language.PYTHON else None,
        )
        for frame in frames
    ]


def _find_place(frames: tuple[Frame, ...]) -> str:
    """ "main at server.c:12": the innermost of these frames whose line is known."""
    for frame in frames:
        if frame.function is not None and frame.source is not None:
            file = frame.source.file.replace("\\", "/").rpartition("/")[2]
            return f"{frame.function} at {file}:{frame.source.line}"
    return ""


def _count_common(first: tuple[Frame, ...], second: tuple[Frame, ...]) -> int:
    """From the outermost frame inwards."""
    count = 0
    for a, b in zip(reversed(_keys(first)), reversed(_keys(second)), strict=False):
        if a != b:
            break
        count += 1
    return count
