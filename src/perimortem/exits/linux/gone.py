"""A process that had ended, and was reaped, before we could hold it: only its recorder is left."""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

from perimortem.exits.decode import decode_wait_status
from perimortem.exits.linux.proc_connector import ProcConnector
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.fact import Fact, FactCode, observed
from perimortem.model.process import ProcessRef


class GoneExitWatch:
    """Ready at once; the proc connector may still know the status."""

    retry_after_s = 0.002

    def __init__(self, process: ProcessRef) -> None:
        self.process = process
        self.facts: list[Fact] = []
        self._fd = os.eventfd(1, os.EFD_CLOEXEC)

    def waitable(self) -> int:
        return self._fd

    def collect_exit(self, now_ns: int) -> Exit | None:
        connector = ProcConnector.shared()
        status = connector.take_exit_status(self.process.pid) if connector else None
        if status is not None:
            return decode_wait_status(status, ExitSource.PROC_CONNECTOR)
        self.facts.append(observed(FactCode.REAPED_BEFORE, "pidfd"))
        return Exit(ExitKind.UNKNOWN, ExitSource.NONE)

    def send_signal(self, number: int) -> None:
        return

    def close(self) -> None:
        os.close(self._fd)
