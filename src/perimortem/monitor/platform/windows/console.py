"""Ctrl-C, Ctrl-Break, console close, logoff and shutdown: they reach us and the target alike.

Windows sends logoff and shutdown events to services only: a monitor in the session does not get them.
Every process attached to a console is notified at once, each in a new thread. After a close
Windows ends a process as soon as its handler returns: so ours waits until the incident is stored.
"""

from __future__ import annotations

import sys
import threading
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.clock import SystemClock
from perimortem.winapi import kernel32

_GRACE_S = 4.5
"""Windows allows a close handler 5 s."""
_NAMES = {
    kernel32.CTRL_C_EVENT: "Ctrl-C",
    kernel32.CTRL_BREAK_EVENT: "Ctrl-Break",
    kernel32.CTRL_CLOSE_EVENT: "the closing of its console",
    kernel32.CTRL_LOGOFF_EVENT: "the end of its session",
    kernel32.CTRL_SHUTDOWN_EVENT: "the shutdown of the machine",
}
_FINAL = (kernel32.CTRL_CLOSE_EVENT, kernel32.CTRL_LOGOFF_EVENT, kernel32.CTRL_SHUTDOWN_EVENT)


@dataclass(frozen=True)
class ConsoleEvent:
    """One of CTRL_*_EVENT, when it arrived."""

    number: int
    at_ns: int

    @property
    def name(self) -> str:
        return _NAMES.get(self.number, f"console event {self.number}")

    @property
    def is_final(self) -> bool:
        """We are ended as well."""
        return self.number in _FINAL


class Console:
    """From now on console events arrive here, and do not end us."""

    def __init__(self) -> None:
        self._event: int = kernel32.CreateEventW(None, True, False, None)
        self._received: deque[ConsoleEvent] = deque()
        self._is_done = threading.Event()
        self._clock = SystemClock()
        self._handler = kernel32.HANDLER_ROUTINE(self.take)
        kernel32.SetConsoleCtrlHandler(self._handler, True)

    def waitable(self) -> int:
        """Ready when there is something to :meth:`receive`."""
        return self._event

    def receive(self) -> Iterator[ConsoleEvent]:
        kernel32.ResetEvent(self._event)
        while self._received:
            yield self._received.popleft()

    def take(self, number: int) -> int:
        """Called by Windows in a new thread; 1: handled."""
        event = ConsoleEvent(number, self._clock.monotonic_ns())
        self._received.append(event)
        kernel32.SetEvent(self._event)
        if event.is_final:
            self._is_done.wait(_GRACE_S)
        return 1

    def close(self) -> None:
        """Everything is stored: a waiting handler may return."""
        self._is_done.set()
        kernel32.SetConsoleCtrlHandler(self._handler, False)
        kernel32.CloseHandle(self._event)
