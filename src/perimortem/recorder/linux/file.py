"""The monitor's access to a recorder file: opened once, read with ``pread``, never mapped.

A target can truncate its file at any time; a mapping would then kill the monitor with SIGBUS,
``pread`` only returns fewer bytes.
"""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Callable
from pathlib import Path

assert sys.platform == "linux"

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

_READ_MAX = layout.file_size(layout.EVENT_SLOT_COUNT_MAX)


class RecorderFile:
    """An open recorder whose identity was checked: it belongs to ``process`` and no other."""

    def __init__(self, path: Path, process: ProcessRef) -> None:
        """Raises FileNotFoundError, PermissionError or :class:`MalformedInput`."""
        self.path = path
        self.process = process
        self._fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW | os.O_NONBLOCK)
        try:
            facts = os.fstat(self._fd)
            if not stat.S_ISREG(facts.st_mode):
                raise MalformedInput(f"{path} is not a recorder", why="it is not a regular file")
            self.inode = (facts.st_dev, facts.st_ino)
            page = os.pread(self._fd, layout.PAGE_SIZE, 0)
            header = read_own_header(page, facts.st_size, path, process)
            self.parent_pid = header.parent_pid
            self.monitor_pid = header.monitor_pid
            self.is_after_exec = bool(header.flags & layout.HeaderFlag.EXECED)
            self.process_name = read_process_name(page)
        except BaseException:
            os.close(self._fd)
            raise

    def read_pulse(self, now_ns: int) -> Pulse:
        """The heartbeats now. Raises :class:`MalformedInput` if the file was truncated."""
        page = os.pread(self._fd, layout.PAGE_SIZE, 0)
        if len(page) < layout.PAGE_SIZE:
            raise MalformedInput(
                "the recorder was truncated while it was watched", why=f"{len(page)} bytes are left"
            )
        return decode_pulse(page, self.process, now_ns)

    def read_recording(self, now_ns: int) -> Recording:
        """The complete contents, up to 32 MiB."""
        size = os.fstat(self._fd).st_size
        return decode_recording(os.pread(self._fd, min(size, _READ_MAX), 0), now_ns)

    def is_replaced(self) -> bool:
        """True if the path now names another file: the process created a new one after an exec."""
        try:
            facts = os.stat(self.path, follow_symlinks=False)
        except OSError:
            return False
        return (facts.st_dev, facts.st_ino) != self.inode

    def is_mapped(self, maps_file: Callable[[int, int, str], bool]) -> bool:
        """Does the program that runs now still have this recorder? Not after an exec without it.

        ``maps_file``: whether a process (pid) has mapped a file (inode, part of the path)."""
        return maps_file(self.process.pid, self.inode[1], ".rec")

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def recorder_path(run_dir: Path, process: ProcessRef) -> Path:
    """The path of ``process``'s recorder."""
    return run_dir / f"{process.pid}-{process.start_time_ticks}.rec"
