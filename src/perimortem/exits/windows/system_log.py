"""The Windows event log and WER reports, as a source for the monitor."""

from __future__ import annotations

import sys
import time

assert sys.platform == "win32"

from perimortem.exits.windows.event_log import read_application_events
from perimortem.exits.windows.wer_reports import collect_words, read_reports
from perimortem.model.process import ProcessRef
from perimortem.model.system_log import SystemLogFindings


class Witness:
    """Windows writes them while its reporter holds the process, or a moment later: their absence
    proves nothing."""

    def __init__(self) -> None:
        self._began_s = time.time()

    def __call__(self, pid: int, tids: set[int]) -> SystemLogFindings:
        return collect_words(pid, self._began_s, read_application_events, read_reports)

    def begin_trace(self) -> None:
        """Nothing to trace here."""

    def close(self) -> None:
        """Nothing is held."""


def find_past_kill(process: ProcessRef, name: str) -> SystemLogFindings:
    """Of a process that ended unseen: Windows ends none because memory runs out."""
    del process, name
    return SystemLogFindings()


def open_system_log() -> Witness:
    """The messages about a process from now on."""
    return Witness()
