"""Notifications when an agent creates its recorder or registers a heartbeat.

FindFirstChangeNotification reports that something changed; what it was is found by listing.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from pathlib import Path

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.library import describe_error, last_error

_CHANGES = (
    kernel32.FILE_NOTIFY_CHANGE_FILE_NAME
    | kernel32.FILE_NOTIFY_CHANGE_ATTRIBUTES
    | kernel32.FILE_NOTIFY_CHANGE_LAST_WRITE
)


class RecorderEvents:
    """File names in one directory, as they change."""

    def __init__(self, run_dir: Path) -> None:
        """Raises OSError (no such directory)."""
        self._run_dir = run_dir
        self._seen: dict[str, int] = {}
        handle = kernel32.FindFirstChangeNotificationW(str(run_dir), False, _CHANGES)
        if handle in (None, kernel32.INVALID_HANDLE_VALUE):
            raise OSError(describe_error(last_error()))
        self._handle = int(handle)
        self._seen = self._look()

    def waitable(self) -> int:
        return self._handle

    def receive(self) -> Iterator[str]:
        """The name of each file that appeared or was touched. Raises OSError if no more can follow."""
        # Before listing: nothing is missed.
        if not kernel32.FindNextChangeNotification(self._handle):
            raise OSError(describe_error(last_error()))
        now = self._look()
        changed = [name for name, modified in now.items() if self._seen.get(name) != modified]
        self._seen = now
        yield from changed

    def close(self) -> None:
        kernel32.FindCloseChangeNotification(self._handle)

    def _look(self) -> dict[str, int]:
        try:
            with os.scandir(self._run_dir) as entries:
                return {entry.name: _read_modified(entry) for entry in entries}
        except OSError:
            return self._seen


def _read_modified(entry: os.DirEntry[str]) -> int:
    try:
        # From the file itself: the directory's information may be stale.
        return os.stat(entry.path, follow_symlinks=False).st_mtime_ns
    except OSError:
        return 0
