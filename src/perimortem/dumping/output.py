"""The file of a dump, on any system: ranges that are skipped and never written read as zeros."""

from __future__ import annotations

import os


class PlainFile:
    """A descriptor whose writes are complete: write(2) may write less than requested."""

    def __init__(self, fd: int) -> None:
        """``fd``: of an empty file; the caller keeps ownership."""
        self._fd = fd
        self._at = 0
        self._size = 0

    def write(self, data: bytes | memoryview, /) -> int:
        self.write_at(data, self._at)
        self._at += len(data)
        self._size = max(self._size, self._at)
        return len(data)

    def seek(self, offset: int, whence: int = 0, /) -> int:
        """From the beginning, or from here (1)."""
        self._at = self._at + offset if whence == 1 else offset
        self._size = max(self._size, self._at)
        return self._at

    def tell(self) -> int:
        return self._at

    def write_at(self, data: bytes | memoryview, offset: int) -> None:
        """Without moving. Raises OSError."""
        os.lseek(self._fd, offset, os.SEEK_SET)  # pwrite(2) is not everywhere
        view = memoryview(data)
        while view:
            view = view[os.write(self._fd, view) :]

    def finish(self) -> None:
        """Set the file's length, in case it ends in a hole. Raises OSError."""
        os.ftruncate(self._fd, self._size)

    def close(self) -> None:
        """Nothing is buffered."""
