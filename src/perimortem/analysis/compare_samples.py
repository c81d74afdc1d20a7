"""Two samples of the stacks of a process: what has not moved is stuck, what has is slow. Pure."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import replace

from perimortem.model.stack import Frame, Language, ThreadStack


def compare_samples(
    first: Iterable[ThreadStack], second: Iterable[ThreadStack], apart_ms: float
) -> tuple[ThreadStack, ...]:
    """``second``, each stack with a note on how it changed since ``first``."""
    before = {stack.tid: stack for stack in first}
    return tuple(_compare(before.get(stack.tid), stack, apart_ms) for stack in second)


def _compare(before: ThreadStack | None, now: ThreadStack, apart_ms: float) -> ThreadStack:
    if before is None:
        note = f"new: it did not exist {apart_ms:.0f} ms before"
    elif _keys(before.frames) == _keys(now.frames):
        note = f"the same stack {apart_ms:.0f} ms before"
    else:
        kept = _count_common(before.frames, now.frames)
        note = f"it moves: {kept} of {len(now.frames)} frames are as {apart_ms:.0f} ms before"
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


def _count_common(first: tuple[Frame, ...], second: tuple[Frame, ...]) -> int:
    """From the outermost frame inwards."""
    count = 0
    for a, b in zip(reversed(_keys(first)), reversed(_keys(second)), strict=False):
        if a != b:
            break
        count += 1
    return count
