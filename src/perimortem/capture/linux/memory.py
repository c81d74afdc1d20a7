"""Memory of another process through /proc/PID/task/TID/mem."""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

_PAGE = 4096


class LiveMemory:
    """Reads through a thread that is alive: the leader may be gone (pthread_exit in main)."""

    def __init__(self, pid: int, tid: int) -> None:
        self._fd = os.open(f"/proc/{pid}/task/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def read(self, address: int, size: int) -> bytes:
        """The bytes from ``address`` on, up to the first page that cannot be read."""
        try:
            data = os.pread(self._fd, size, address)
        except (OSError, OverflowError):
            return b""
        if len(data) == size or not data:
            return data
        # A short read ends at a hole, or for no reason: ask for the rest once.
        return data + self.read(address + len(data), size - len(data))

    def read_padded(self, address: int, size: int) -> tuple[bytes, int]:
        """``size`` bytes with unreadable pages as zeros, and how many bytes were unreadable."""
        data = self.read(address, size)
        if len(data) == size:
            return data, 0
        parts, missing, at = [data], 0, address + len(data)
        end = address + size
        while at < end:
            step = min(_PAGE - at % _PAGE, end - at)
            page = self.read(at, step)
            if len(page) < step:
                missing += step - len(page)
                page = page + bytes(step - len(page))
            parts.append(page)
            at += step
        return b"".join(parts), missing

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
