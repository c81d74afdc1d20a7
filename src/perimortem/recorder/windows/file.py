"""The monitor's access to a recorder file: mapped for reading.

ReadFile is not coherent with a mapped view, and a mapped file cannot be truncated on Windows: what would
kill the monitor on Linux is the right way here.
"""

from __future__ import annotations

import ctypes
import mmap
import msvcrt
import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

assert sys.platform == "win32"

from perimortem.errors import MalformedInput
from perimortem.model.process import ProcessRef
from perimortem.model.recording import Pulse, Recording
from perimortem.recorder import layout
from perimortem.recorder.decode import (
    decode_pulse,
    decode_recording,
    read_own_header,
    read_process_name,
)
from perimortem.winapi import kernel32
from perimortem.winapi.library import last_error

_READ_MAX = layout.file_size(layout.EVENT_SLOT_COUNT_MAX)


class RecorderFile:
    """An open recorder whose identity was checked: it belongs to ``process`` and no other."""

    def __init__(self, path: Path, process: ProcessRef) -> None:
        """Raises FileNotFoundError, PermissionError or :class:`MalformedInput`."""
        self.path = path
        self.process = process
        self._view = _map(path)
        try:
            page = self._view[: layout.PAGE_SIZE]
            header = read_own_header(page, len(self._view), path, process)
            self.parent_pid = header.parent_pid
            self.monitor_pid = header.monitor_pid
            self.is_after_exec = False
            self.process_name = read_process_name(page)
        except BaseException:
            self._view.close()
            raise

    def read_pulse(self, now_ns: int) -> Pulse:
        """The heartbeats now."""
        return decode_pulse(self._view[: layout.PAGE_SIZE], self.process, now_ns)

    def read_recording(self, now_ns: int) -> Recording:
        """The complete contents, up to 32 MiB."""
        return decode_recording(self._view[:_READ_MAX], now_ns)

    def is_replaced(self) -> bool:
        """True if the path now names another file: on Windows a process creates only one."""
        return False

    def is_mapped(self, maps_file: Callable[[int, int, str], bool]) -> bool:
        """Does the program that runs now still have this recorder? On Windows it never changes."""
        return True

    def close(self) -> None:
        self._view.close()


def _open_shared(path: Path) -> int:
    """os.open would prevent every rename and removal while we have it open."""
    handle = kernel32.CreateFileW(
        str(path),
        kernel32.GENERIC_READ,
        kernel32.FILE_SHARE_ALL,
        None,
        kernel32.OPEN_EXISTING,
        0,
        None,
    )
    if handle in (None, kernel32.INVALID_HANDLE_VALUE):
        raise ctypes.WinError(last_error())
    return msvcrt.open_osfhandle(handle, os.O_RDONLY | os.O_BINARY | os.O_NOINHERIT)


def _map(path: Path) -> mmap.mmap:
    fd = _open_shared(path)
    try:
        facts = os.fstat(fd)
        if not stat.S_ISREG(facts.st_mode):
            raise MalformedInput(f"{path} is not a recorder", why="it is not a regular file")
        if facts.st_size < layout.PAGE_SIZE:
            raise MalformedInput(
                f"{path} is not a recorder", why=f"it has {facts.st_size} bytes only"
            )
        return mmap.mmap(fd, min(facts.st_size, _READ_MAX + 1), access=mmap.ACCESS_READ)
    finally:
        os.close(fd)


def recorder_path(run_dir: Path, process: ProcessRef) -> Path:
    """The path of ``process``'s recorder."""
    return run_dir / f"{process.pid}-{process.start_time_ticks}.rec"
