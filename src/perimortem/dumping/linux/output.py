"""The file of a dump: zeros become holes, progress is reported."""

from __future__ import annotations

import ctypes
import sys
import time
from collections.abc import Callable

assert sys.platform == "linux"

from perimortem.capture.linux.native import ZeroFinder
from perimortem.dumping.output import PlainFile

_PAGE = 4096
_SMALL = 4 * _PAGE
"""Shorter runs of zeros are written: a hole would save nothing."""
_NOTIFY_EVERY_S = 0.25

OnProgress = Callable[[int], None]
"""Called periodically with the position in the file."""


class SparseFile(PlainFile):
    """Pages of zeros occupy no space in it."""

    def __init__(self, fd: int, on_progress: OnProgress | None = None) -> None:
        """``fd``: of an empty file, or one that has no data where it is written."""
        super().__init__(fd)
        self._on_progress = on_progress
        self._reported_at = time.monotonic()

    def write(self, data: bytes | memoryview, /) -> int:
        view = memoryview(data)
        if len(view) < _SMALL or view.readonly:
            super().write(view)
        else:
            self._write_nonzero(view)
            self.seek(len(view), 1)
        self._notify()
        return len(view)

    def _write_nonzero(self, view: memoryview) -> None:
        finder = ZeroFinder(ctypes.addressof(ctypes.c_char.from_buffer(view)), _PAGE)
        start, end = finder.next_run(len(view), 0)
        while start < len(view):
            self.write_at(view[start:end], self._at + start)
            start, end = finder.next_run(len(view), end)

    def _notify(self) -> None:
        if self._on_progress is not None:
            now = time.monotonic()
            if now - self._reported_at >= _NOTIFY_EVERY_S:
                self._reported_at = now
                self._on_progress(self._at)
