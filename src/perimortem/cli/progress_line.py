"""A progress bar: one line on a terminal, removed when the work is done."""

from __future__ import annotations

from typing import Self, TextIO

from perimortem.dumping.progress import Progress
from perimortem.report.units import format_size

_BAR = 24


class ProgressLine:
    """Use as a context manager. Prints nothing without a terminal."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._is_shown = False

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._is_shown:
            self._stream.write("\r\x1b[K")
            self._stream.flush()

    def show(self, progress: Progress) -> None:
        self._show(render_progress(progress))

    def show_count(self, done: int, total: int) -> None:
        self._show(f"{_draw_bar(done / total if total else 1.0)} {done} of {total}")

    def _show(self, text: str) -> None:
        if not self._stream.isatty():
            return
        self._is_shown = True
        self._stream.write("\r\x1b[K" + text)
        self._stream.flush()


def render_progress(progress: Progress) -> str:
    """[#####.....]  1.2 of 4.0 GiB, 1.9 GiB/s, 2 s left"""
    share = progress.done_bytes / progress.total_bytes if progress.total_bytes else 1.0
    left = progress.left_s
    return (
        f"{_draw_bar(share)} {format_size(progress.done_bytes)} of "
        f"{format_size(progress.total_bytes)}, {format_size(int(progress.rate_bytes_per_s))}/s"
        + (f", {left:.0f} s left" if left is not None else "")
    )


def _draw_bar(share: float) -> str:
    filled = int(share * _BAR)
    return f"[{'#' * filled}{'.' * (_BAR - filled)}]"
