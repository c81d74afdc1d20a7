"""How long our thread was ready to run and had no processor (/proc/PID/schedstat)."""

from __future__ import annotations

import os
import sys
from contextlib import suppress

assert sys.platform == "linux"


class ProcessorWait:
    """Of the main thread, since it was started."""

    def __init__(self) -> None:
        self._fd = -1
        with suppress(OSError):
            self._fd = os.open("/proc/self/schedstat", os.O_RDONLY | os.O_CLOEXEC)

    def read_ns(self) -> int:
        """0 where the kernel does not count it."""
        try:
            return int(os.pread(self._fd, 128, 0).split()[1])
        except (OSError, IndexError, ValueError):
            return 0

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1
