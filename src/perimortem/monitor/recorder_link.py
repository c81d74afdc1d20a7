"""The recorder of one target: found when it appears, found again after an exec, and never trusted."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path

from perimortem.errors import MalformedInput
from perimortem.model.process import ProcessRef
from perimortem.model.recording import Pulse, Recording
from perimortem.recorder import RecorderFile, recorder_path

_FIRST_LOOKS_NS = 20_000_000
_LAST_LOOKS_NS = 30_000_000_000


class RecorderLink:
    """Opens the file of ``process`` in ``run_dir`` once it is there."""

    def __init__(self, run_dir: Path, process: ProcessRef) -> None:
        self.path = recorder_path(run_dir, process)
        self.name: str | None = None
        """The process's name when its last program started (after an exec: that program's name)."""
        self.is_after_exec = False
        """It executed another program."""
        self._is_ours = True
        self.error: str | None = None
        """Why the recorder cannot be read, once that failed."""
        self._process = process
        self._file: RecorderFile | None = None
        self._pause_ns = _FIRST_LOOKS_NS

    @property
    def is_open(self) -> bool:
        return self._file is not None

    def retry_ns(self) -> int:
        """Delay before searching for the file again: growing, up to 30 s.

        Only a fallback for inotify, which notifies at once."""
        pause_ns = self._pause_ns
        self._pause_ns = min(pause_ns * 2, _LAST_LOOKS_NS)
        return pause_ns

    def read_pulse(self, now_ns: int) -> Pulse | None:
        """The heartbeats; None if it is not open or is damaged (``error``)."""
        if self._file is None:
            return None
        try:
            return self._file.read_pulse(now_ns)
        except (MalformedInput, OSError) as error:
            self.error = str(error)
            return None

    def refresh(self) -> bool:
        """After an exec the process has a new file under the same name: use that one."""
        if self._file is None or not self._file.is_replaced():
            return False
        self.close()
        self.open()
        return True

    def is_mapped(self, maps_file: Callable[[int, int, str], bool]) -> bool:
        """Does the program that runs now still have this recorder?

        ``maps_file``: whether a process (pid) has mapped a file (inode, part of the path)."""
        return self._file is not None and self._file.is_mapped(maps_file)

    def read_recording(self, now_ns: int) -> Recording | None:
        """The complete contents, after the target's end."""
        if self._file is None:
            self.open()
        else:
            self.refresh()
        if self._file is None:
            return None
        try:
            return self._file.read_recording(now_ns)
        except (MalformedInput, OSError) as error:
            self.error = str(error)
            return None

    def remove(self) -> None:
        """The incident is reported and stored: the file is no longer needed."""
        had_file = self._file is not None
        self.close()
        if had_file and self._is_ours:  # else a nested monitor still needs it
            try:
                os.unlink(self.path)
            except OSError:
                return

    def close(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def open(self) -> bool:
        """Search for the file; True if it exists and belongs to the process."""
        try:
            self._file = RecorderFile(self.path, self._process)
        except (FileNotFoundError, NotADirectoryError):
            return False
        except (MalformedInput, OSError) as error:
            self.error = str(error)
            return False
        self.error = None
        self.name = self._file.process_name
        self.is_after_exec = self._file.is_after_exec
        self._is_ours = self._file.monitor_pid in (0, os.getpid())
        return True
