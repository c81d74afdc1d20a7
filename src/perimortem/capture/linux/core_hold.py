"""A process that is dumping core: the kernel keeps it stopped, and it must not be traced.

ptrace would attach but the stop would never come. Its registers, however, are in the notes of the core,
and its memory is readable until the core has been read to its end.
"""

from __future__ import annotations

import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.elfcore.notes import CoreNotes, read_notes
from perimortem.errors import ProcessGone
from perimortem.model.snapshot import Registers
from perimortem.procfs.status import read_status
from perimortem.procfs.threads import list_threads


class CoreDumpStop:
    """Like ``PtraceStop``, but stopped by the kernel."""

    paused_ns = 0
    """We add nothing to its pause."""

    def __init__(self, pid: int, notes_path: Path) -> None:
        """Raises MalformedInput, OSError."""
        self._pid = pid
        self._notes: CoreNotes = read_notes(notes_path.read_bytes())
        self.stopped: list[int] = []
        self.running: list[int] = []
        self.soft_errors: list[str] = []

    def __enter__(self) -> CoreDumpStop:
        if not self._is_dumping():
            raise ProcessGone(f"process {self._pid} no longer dumps core")
        tids = list_threads(self._pid)
        if not tids:
            raise ProcessGone(f"process {self._pid} has ended")
        known = {thread.tid for thread in self._notes.threads}
        self._tid_of = {number: tid for tid in tids if (number := self._own_number(tid)) in known}
        self.stopped = sorted(self._tid_of.values())
        self.running = sorted(set(tids) - set(self.stopped))
        return self

    def __exit__(self, *_: object) -> None:
        return

    def read_registers(self) -> dict[int, Registers | None]:
        """By thread id in our pid namespace."""
        return {
            self._tid_of[thread.tid]: thread.registers
            for thread in self._notes.threads
            if thread.tid in self._tid_of
        }

    def thaw(self) -> None:
        """The kernel releases it when the collector does."""

    def _is_dumping(self) -> bool:
        """Else it is another process, with the same pid."""
        status = read_status(self._pid)
        return status is not None and status.is_dumping_core

    def _own_number(self, tid: int) -> int:
        """In a pid namespace the process knows its threads by other ids."""
        status = read_status(self._pid, tid)
        return status.numbers[-1] if status is not None and status.numbers else tid
