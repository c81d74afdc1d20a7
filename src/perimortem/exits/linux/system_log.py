"""The kernel's information on a process: its log, and its signal trace; each if permitted."""

from __future__ import annotations

import os
import sys
import threading
import time
from contextlib import suppress
from dataclasses import replace

assert sys.platform == "linux"

from perimortem.exits.linux import kernel_log
from perimortem.exits.linux.kernel_log import KernelLog
from perimortem.exits.linux.signal_trace import SignalTrace
from perimortem.model.process import ProcessRef
from perimortem.model.system_log import SystemLogFindings

_PATIENCE_S = 5.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class Witness:
    """From now on."""

    def __init__(self) -> None:
        self._log: KernelLog | None = None
        self._trace: SignalTrace | None = None
        self._trace_error = "it ended before tracing had begun"
        self._beginning: threading.Thread | None = None
        with suppress(OSError):
            self._log = KernelLog()

    def begin_trace(self) -> None:
        """The kernel takes some 40 ms for it: done beside the loop, for processes that live longer."""
        self._beginning = threading.Thread(target=self._set_up_trace, daemon=True)
        self._beginning.start()

    def _set_up_trace(self) -> None:
        try:
            self._trace = SignalTrace()
        except OSError as error:
            self._trace_error = error.strerror or str(error)

    def __call__(self, pid: int, tids: set[int]) -> SystemLogFindings:
        """All messages about ``pid`` and its threads."""
        now_ns = time.monotonic_ns()
        words = self._log.collect_words(pid, tids, now_ns) if self._log else SystemLogFindings()
        if self._trace is None:
            return replace(words, trace_error=self._trace_error)
        return replace(
            words,
            signals=self._trace.find_signals(tids | {pid}),
            oom_kill=words.oom_kill or self._trace.find_victim(pid),
        )

    def close(self) -> None:
        if self._beginning is not None:
            self._beginning.join(_PATIENCE_S)
        if self._log is not None:
            self._log.close()
        if self._trace is not None:
            self._trace.close()


def find_past_kill(process: ProcessRef, name: str) -> SystemLogFindings:
    """Of a process that ended unseen: whether memory ran out, as far as the log reaches back."""
    slept_s = time.clock_gettime(time.CLOCK_BOOTTIME) - time.monotonic()
    began_s = (
        process.start_time_ticks / _TICKS_PER_S - slept_s
    )  # the log's time stands still asleep
    return SystemLogFindings(oom_kill=kernel_log.find_past_kill(process.pid, name, began_s))


def open_system_log() -> Witness:
    """The kernel's messages about a process from now on."""
    return Witness()
