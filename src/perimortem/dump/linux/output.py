"""The file of a dump: zeros become holes, progress is told."""

from __future__ import annotations

import ctypes
import os
import sys
import time
from collections.abc import Callable

assert sys.platform == "linux"

from perimortem.capture.linux.native import ZeroFinder

_PAGE = 4096
_SMALL = 4 * _PAGE
"""Below that zeros are written: a hole would save nothing."""
_TELL_EVERY_S = 0.25

TellProgress = Callable[[int], None]
"""Called now and then with the position in the file."""


class SparseFile:
    """A descriptor whose writes are complete, and in which pages of zeros take no room."""

    def __init__(self, fd: int, tell_progress: TellProgress | None = None) -> None:
        """``fd``: of an empty file, or one that has no data where it is written."""
        self._fd = fd
        self._at = 0
        self._size = 0
        self._tell_progress = tell_progress
        self._told_at = time.monotonic()

    def write(self, data: bytes | memoryview, /) -> int:
        view = memoryview(data)
        if len(view) < _SMALL or view.readonly:
            self._write_at(view, self._at)
        else:
            self._write_nonzero(view)
        self._at += len(view)
        self._size = max(self._size, self._at)
        self._tell()
        return len(view)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """What is passed over reads as zeros."""
        self._at = self._at + offset if whence == 1 else offset
        self._size = max(self._size, self._at)
        return self._at

    def tell(self) -> int:
        return self._at

    def finish(self) -> None:
        """Give the file its length, should it end in a hole. Raises OSError."""
        os.ftruncate(self._fd, self._size)

    def _write_nonzero(self, view: memoryview) -> None:
        finder = ZeroFinder(ctypes.addressof(ctypes.c_char.from_buffer(view)), _PAGE)
        start, end = finder.next_run(len(view), 0)
        while start < len(view):
            self._write_at(view[start:end], self._at + start)
            start, end = finder.next_run(len(view), end)

    def _write_at(self, view: memoryview, offset: int) -> None:
        """write(2) may take less than it was given."""
        while view:
            count = os.pwrite(self._fd, view, offset)
            view, offset = view[count:], offset + count

    def _tell(self) -> None:
        if self._tell_progress is not None:
            now = time.monotonic()
            if now - self._told_at >= _TELL_EVERY_S:
                self._told_at = now
                self._tell_progress(self._at)
