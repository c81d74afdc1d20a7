"""The heartbeats of a command that do not come from its agent: the list, and their wiring."""

from __future__ import annotations

import sys
from collections.abc import Callable

assert sys.platform == "win32"

from perimortem.beats.file_age import list_files
from perimortem.beats.process_state import ProcessStateBeat
from perimortem.beats.progress import Progress
from perimortem.beats.source import BeatSource
from perimortem.beats.windows.window import Window
from perimortem.errors import UsageError
from perimortem.model.last_words import LastWords
from perimortem.model.process import ProcessRef
from perimortem.monitor.settings import Settings
from perimortem.reading import ProcessReader

_MISSING = {
    "sd-notify": "the protocol exists on Linux only",
    "output": "not on Windows yet",
}


class Heartbeats:
    """Created before the command starts."""

    def __init__(self, settings: Settings, now_ns: int) -> None:
        """Raises UsageError for a source that this system does not support."""
        self.main_pid: int | None = None
        """The process that the command announced as its main one: not supported on Windows."""
        self._wanted = settings.beat_from
        for name in self._wanted:
            if name in _MISSING:
                raise UsageError(f"--beat-from {name} is not available", why=_MISSING[name])
        if settings.force_pty:
            raise UsageError("--pty is not available", why="not on Windows yet")
        if settings.keeps_output:
            raise UsageError("--keep-output is not available", why="not on Windows yet")

    def begin(
        self,
        process: ProcessRef,
        now_ns: int,
        tree_pids: Callable[[], list[int]],
        reader: ProcessReader,
    ) -> list[BeatSource]:
        """The command is running."""
        sources: list[BeatSource] = [ProcessStateBeat(process, now_ns)]
        if "progress" in self._wanted:
            sources.append(Progress(process.pid, now_ns, tree_pids))
        if "window" in self._wanted:
            sources.append(Window(tree_pids, now_ns))
        return [*sources, *list_files(self._wanted, now_ns, reader.read_change)]

    def read_last_words(self) -> LastWords | None:
        """It cannot be seen here."""
        return None

    def take_last_words(self, now_ns: int, tree: set[int]) -> None:
        """The command has ended: no output is in transit here."""

    def soft_errors(self) -> list[str]:
        """Notifications that were rejected."""
        return []

    def close(self) -> None:
        return
