"""Notifications when an agent creates its recorder or registers a heartbeat (inotify(7)).

Stores into a mapping notify nothing; but an agent renames its finished file into the run directory, and
touches it after each registration. So the monitor need not poll for either.
"""

from __future__ import annotations

import ctypes
import os
import struct
import sys
from collections.abc import Iterator
from pathlib import Path

assert sys.platform == "linux"

_IN_ATTRIB = 0x4
_IN_MOVED_TO = 0x80
_EVENT = struct.Struct("iIII")  # wd, mask, cookie, name length


class RecorderEvents:
    """File names in one directory, as they change."""

    def __init__(self, run_dir: Path) -> None:
        """Raises OSError (no inotify left, no such directory)."""
        libc = ctypes.CDLL(None, use_errno=True)
        self._fd: int = libc.inotify_init1(os.O_NONBLOCK | os.O_CLOEXEC)
        if self._fd < 0:
            raise _last_error()
        if libc.inotify_add_watch(self._fd, os.fsencode(run_dir), _IN_ATTRIB | _IN_MOVED_TO) < 0:
            error = _last_error()
            os.close(self._fd)
            raise error

    def waitable(self) -> int:
        return self._fd

    def receive(self) -> Iterator[str]:
        """The name of each file that appeared or was touched."""
        while True:
            try:
                data = os.read(self._fd, 65536)
            except BlockingIOError:
                return
            at = 0
            while at + _EVENT.size <= len(data):
                _, _, _, size = _EVENT.unpack_from(data, at)
                at += _EVENT.size
                yield os.fsdecode(data[at : at + size].rstrip(b"\0"))
                at += size

    def close(self) -> None:
        os.close(self._fd)


def _last_error() -> OSError:
    number = ctypes.get_errno()
    return OSError(number, os.strerror(number))
