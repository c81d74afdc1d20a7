"""A process that had ended before we could hold it: ETW may know its code."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.exits.decode import decode_exit_code
from perimortem.exits.windows.etw import EtwSource
from perimortem.model.exits import Exit, ExitKind, ExitSource
from perimortem.model.fact import Fact, FactCode, observed
from perimortem.model.process import ProcessRef
from perimortem.winapi import kernel32

_GIVE_UP_NS = 2_000_000_000
"""ETW delivers its buffers once a second."""


class GoneExitWatch:
    """Ready at once."""

    retry_after_s = 0.05

    def __init__(self, process: ProcessRef, source: EtwSource | None = None) -> None:
        self.process = process
        self.facts: list[Fact] = []
        self._source = source or EtwSource.shared()
        self._event: int = kernel32.CreateEventW(None, True, True, None)
        self._asked_since_ns: int | None = None

    def waitable(self) -> int:
        return self._event

    def collect_exit(self, now_ns: int) -> Exit | None:
        if self._asked_since_ns is None:
            self._asked_since_ns = now_ns
        stop = self._source.ends.find(self.process)
        if stop is not None:
            return decode_exit_code(stop.exit_code, ExitSource.ETW)
        if not self._source.refusal and now_ns - self._asked_since_ns < _GIVE_UP_NS:
            return None
        why = self._source.refusal or "it did not report this process"
        self.facts.append(observed(FactCode.ETW_REFUSED, "ETW", why=why))
        return Exit(ExitKind.UNKNOWN, ExitSource.NONE)

    def send_signal(self, number: int) -> None:
        return

    def close(self) -> None:
        kernel32.CloseHandle(self._event)
