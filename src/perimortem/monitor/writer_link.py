"""The monitor's end of its writer: what is asked, what has not been answered, and for how long.

Nothing here waits. A writer that dies is replaced, and asked again: the store knows a report by its uid.
One that does not answer in time, on a disk that hangs perhaps, is not waited for; it goes on.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol

from perimortem.clock import Clock
from perimortem.monitor.timers import Timers
from perimortem.store.requests import Answer, News, Request, decode_line, encode_line
from perimortem.system import Selector

_STARTS_MAX = 4
"""Writers that one monitor starts. Arbitrary."""
_UNSENT_MAX = 64 << 20
_RETRY_NS = 10_000_000
_LAST_PATIENCE_S = 1.0
_START_PATIENCE_S = 10.0
"""In addition, until a writer has answered once: on Windows an interpreter is started. Arbitrary."""
_LINE_MAX = 64 << 20


class WriterProcess(Protocol):
    """A running writer (``system.Service``)."""

    pid: int

    @property
    def unsent_bytes(self) -> int: ...

    def waitable(self) -> int: ...

    def send(self, data: bytes) -> None: ...

    def flush(self) -> None: ...

    def read(self) -> bytes | None: ...

    def end(self, patience_s: float) -> None: ...


@dataclass(frozen=True, eq=False)
class _Asked:
    """A request without an answer so far."""

    line: bytes
    done: Callable[[Answer | None], None]


class WriterLink:
    """To one writer at a time."""

    def __init__(
        self,
        selector: Selector,
        timers: Timers,
        clock: Clock,
        start: Callable[[], WriterProcess],
        on_news: Callable[[News], None],
    ) -> None:
        """``start``: starts a writer; raises OSError."""
        self._selector = selector
        self._timers = timers
        self._clock = clock
        self._start_writer = start
        self._on_news = on_news
        self._writer: WriterProcess | None = None
        self._received = b""
        self._asked: dict[int, _Asked] = {}
        self._numbers = itertools.count(1)
        self._starts_left = _STARTS_MAX
        self._has_answered = False
        self.pids: set[int] = set()
        """Of the writer, and of those that it replaced: they may not be reaped yet."""

    @property
    def is_answered(self) -> bool:
        """Nothing that was asked is open."""
        return not self._asked

    @property
    def is_lost(self) -> bool:
        """There is no writer, and none is started any more."""
        return self._writer is None and not self._starts_left

    def ask(
        self, request: Request, done: Callable[[Answer | None], None], patience_s: float
    ) -> None:
        """``done`` is called once, with None if there is no answer within ``patience_s``; the first one
        may take 10 s longer."""
        self.open()
        writer = self._writer
        if writer is None or writer.unsent_bytes > _UNSENT_MAX:
            done(None)
            return
        number = next(self._numbers)
        asked = _Asked(encode_line(number, request), done)
        self._asked[number] = asked
        patience_s += 0 if self._has_answered else _START_PATIENCE_S
        due_ns = self._clock.monotonic_ns() + int(patience_s * 1e9)
        self._timers.arm(asked, due_ns, lambda _now_ns: self._finish(number, None))
        writer.send(asked.line)
        self._retry_later()

    def open(self) -> None:
        """Start the writer, so that the first request need not wait for that."""
        while self._writer is None and self._starts_left:
            self._starts_left -= 1
            try:
                writer = self._start_writer()
            except OSError:  # no process, no descriptor, no memory
                continue
            self._writer = writer
            self.pids.add(writer.pid)
            self._received = b""
            self._selector.register(writer.waitable(), self._read)

    def close(self) -> None:
        """The watch is over. The writer ends when it has done what it was asked; nothing is answered."""
        self._asked.clear()
        self._starts_left = 0
        self._drop(_LAST_PATIENCE_S)

    def _drop(self, patience_s: float) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self._selector.unregister(writer.waitable())
            self._timers.disarm(self)
            writer.end(patience_s)

    def _retry_later(self) -> None:
        writer = self._writer
        if writer is not None and writer.unsent_bytes:
            due_ns = self._clock.monotonic_ns() + _RETRY_NS
            self._timers.arm(self, due_ns, lambda _now_ns: self._flush())

    def _flush(self) -> None:
        if self._writer is not None:
            self._writer.flush()
            self._retry_later()

    def _read(self, _now_ns: int) -> None:
        part = self._writer.read() if self._writer is not None else None
        if part is None:
            return
        self._received += part
        if not part or len(self._received) > _LINE_MAX:
            self._replace()
            return
        self._has_answered = True
        *lines, self._received = self._received.split(b"\n")
        for line in lines:
            number, message = decode_line(line)
            if number is None:
                self._on_news(message)
            else:
                self._finish(number, message)

    def _replace(self) -> None:
        """It died: another one is asked what this one has not answered."""
        self._drop(0)
        self.open()
        if self._writer is None:
            for number in list(self._asked):
                self._finish(number, None)
            return
        for asked in self._asked.values():
            self._writer.send(asked.line)
        self._retry_later()

    def _finish(self, number: int, answer: Answer | None) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            self._timers.disarm(asked)
            asked.done(answer)
