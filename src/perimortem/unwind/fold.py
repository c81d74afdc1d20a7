"""Fold repeated parts of a stack, so that infinite recursion is shown once. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Sequence
from dataclasses import dataclass

from perimortem.model.stack import Frame

_PERIOD_MAX = 32
"""How many functions may call each other in a cycle. Arbitrary."""
_REPEATS_MIN = 4
"""Fewer are shown as they are. Arbitrary."""


@dataclass(frozen=True)
class Fold:
    """From frame ``start`` on ``period`` frames repeat ``count`` times."""

    start: int
    period: int
    count: int

    @property
    def end(self) -> int:
        return self.start + self.period * self.count


def find_folds(frames: Sequence[Frame]) -> list[Fold]:
    """In order, none within another."""
    numbers: dict[object, int] = {}
    keys = array("L", (numbers.setdefault(_key(frame), len(numbers)) for frame in frames))
    raw = keys.tobytes()
    folds: list[Fold] = []
    at, width = 0, keys.itemsize
    while at < len(keys):
        best = None
        for period in range(1, min(_PERIOD_MAX, (len(keys) - at) // _REPEATS_MIN) + 1):
            if keys[at] != keys[at + period]:
                continue
            count = 1 + _count_same(raw, at * width, period * width) // (period * width)
            if count >= _REPEATS_MIN and (best is None or period * count > best.end - at):
                best = Fold(at, period, count)
        if best is None:
            at += 1
        else:
            folds.append(best)
            at = best.end
    return folds


def _key(frame: Frame) -> object:
    """Equal for the same call; from which place in a function matters little."""
    if frame.function is not None:
        return frame.function, frame.module.base if frame.module is not None else 0
    return frame.pc


def _count_same(raw: bytes, at: int, ahead: int) -> int:
    """How many bytes from ``at`` on equal those ``ahead`` of them; fast for a million frames, too."""
    same, step = 0, ahead
    while step:
        here, there = at + same, at + same + ahead
        if there + step <= len(raw) and raw[here : here + step] == raw[there : there + step]:
            same, step = same + step, step * 2
        else:
            step //= 2
    return same
