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
from perimortem.store.answers import Reservation
from perimortem.store.requests import Answer, Forget, News, Request, decode_line, encode_line
from perimortem.system import Leaving, Selector

_STARTS_MAX = 4
"""Writers that one monitor starts. Arbitrary."""
_UNSENT_MAX = 64 << 20
_RETRY_NS = 10_000_000
_LAST_PATIENCE_S = 1.0
_TRIES_MAX = 5
"""Of one start, when there is no process or descriptor for it."""
_TRY_AGAIN_NS = 200_000_000
_GIVEN_UP_NS = 60_000_000_000
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

    def is_over(self) -> bool: ...


@dataclass(frozen=True, eq=False)
class _Asked:
    """A request without an answer so far."""

    line: bytes
    due_ns: int
    """When it is no longer waited for."""
    done: Callable[[Answer | None], None]


@dataclass(frozen=True)
class _Start:
    """The key of the timer of the next try."""

    link: WriterLink


class WriterLink:
    """To one writer at a time."""

    def __init__(
        self,
        selector: Selector,
        timers: Timers,
        clock: Clock,
        start: Callable[[], WriterProcess],
        on_news: Callable[[News], None],
        start_patience_s: float,
    ) -> None:
        """``start``: starts a writer; raises OSError. ``start_patience_s``: what its first answer may
        take in addition."""
        self._selector = selector
        self._timers = timers
        self._clock = clock
        self._start_writer = start
        self._on_news = on_news
        self._writer: WriterProcess | None = None
        self._received = b""
        self._asked: dict[int, _Asked] = {}
        self._numbers = itertools.count(1)
        self._start_patience_s = start_patience_s
        self._starts_left = _STARTS_MAX
        self._tries_left = _TRIES_MAX
        self._given_up_ns: int | None = None
        self._has_answered = False
        self.has_timed_out = False
        """The last request was not answered in time."""
        self._leaving = Leaving()

    def pids(self) -> set[int]:
        """Of the writer, and of those that it replaced."""
        return self._leaving.pids() | ({self._writer.pid} if self._writer is not None else set())

    @property
    def is_answered(self) -> bool:
        """Nothing that was asked is open."""
        return not self._asked

    @property
    def is_lost(self) -> bool:
        """There is no writer, and none is started for a while."""
        return self._writer is None and not (self._starts_left and self._tries_left)

    def ask(
        self, request: Request, done: Callable[[Answer | None], None], patience_s: float
    ) -> None:
        """``done`` is called once, with None if there is no answer within ``patience_s``; the first one
        may take longer."""
        self._forgive()
        if self.is_lost or (self._writer and self._writer.unsent_bytes > _UNSENT_MAX):
            done(None)
            return
        number = next(self._numbers)
        patience_s += 0 if self._has_answered else self._start_patience_s
        due_ns = self._clock.monotonic_ns() + int(patience_s * 1e9)
        asked = _Asked(encode_line(number, request), due_ns, done)
        self._asked[number] = asked
        self._await(number, asked)
        if self._writer is None:
            self.open()
        else:
            self._writer.send(asked.line)
        self._retry_later()

    def open(self) -> None:
        """Start the writer, so that the first request need not wait for that."""
        if self._writer is not None or self.is_lost:
            return
        try:
            writer = self._start_writer()
        except OSError:  # no process, no descriptor, no memory: there may be soon
            self._tries_left -= 1
            self._open_later()
            return
        self._starts_left -= 1
        self._tries_left = _TRIES_MAX
        self._writer = writer
        self._received = b""
        self._selector.register(writer.waitable(), self._read)
        for asked in self._asked.values():
            writer.send(asked.line)
        self._retry_later()

    def finish(
        self, selector: Selector, is_finished: Callable[[], bool], patience_s: float
    ) -> None:
        """Wait until ``is_finished``. The watch is over: what else is ready or due is left alone.

        ``selector``: for the writer alone, from now on; the caller closes it after :meth:`close`."""
        self._move_to(selector)
        until_ns = self._clock.monotonic_ns() + int(patience_s * 1e9)
        while not is_finished() and (now_ns := self._clock.monotonic_ns()) < until_ns:
            due_ns = min(self._timers.next_due_ns() or until_ns, until_ns)
            for call in selector.wait(max(0, due_ns - now_ns) / 1e9):
                call(now_ns)
            now_ns = self._clock.monotonic_ns()
            for call in self._timers.take_due(now_ns):
                call(now_ns)

    def close(self) -> None:
        """The watch is over. The writer ends when it has done what it was asked; nothing is answered."""
        self._asked.clear()
        self._starts_left = 0
        self._drop(_LAST_PATIENCE_S)

    def _move_to(self, selector: Selector) -> None:
        """Away from the loop, and from its timers."""
        if self._writer is not None:
            self._selector.unregister(self._writer.waitable())
            selector.register(self._writer.waitable(), self._read)
        self._selector, self._timers = selector, Timers()
        for number, asked in self._asked.items():
            self._await(number, asked)
        if self._writer is not None:
            self._retry_later()
        elif self._asked:
            self._open_later()

    def _await(self, number: int, asked: _Asked) -> None:
        self._timers.arm(asked, asked.due_ns, lambda _now_ns: self._expire(number))

    def _open_later(self) -> None:
        if self._tries_left:
            due_ns = self._clock.monotonic_ns() + _TRY_AGAIN_NS
            self._timers.arm(_Start(self), due_ns, lambda _now_ns: self.open())
        else:
            self._give_up()

    def _give_up(self) -> None:
        self._given_up_ns = self._clock.monotonic_ns()
        for number in list(self._asked):
            self._finish(number, None)

    def _forgive(self) -> None:
        """What ended the writers may be over: memory that was short, for instance."""
        if self._given_up_ns is None:
            return
        if self._clock.monotonic_ns() - self._given_up_ns > _GIVEN_UP_NS:
            self._given_up_ns = None
            self._starts_left, self._tries_left = _STARTS_MAX, _TRIES_MAX

    def _drop(self, patience_s: float) -> None:
        writer, self._writer = self._writer, None
        if writer is not None:
            self._selector.unregister(writer.waitable())
            self._timers.disarm(self)
            self._timers.disarm(_Start(self))
            writer.end(patience_s)
            self._leaving.add(writer)

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
                self._starts_left, self.has_timed_out = _STARTS_MAX, False
                self._finish(number, message)

    def _replace(self) -> None:
        """It died: another one is asked what this one has not answered."""
        self._drop(0)
        self.open()
        if not self._starts_left and self._writer is None:
            self._give_up()

    def _expire(self, number: int) -> None:
        self.has_timed_out = True
        self._finish(number, None)

    def _finish(self, number: int, answer: Answer | None) -> None:
        asked = self._asked.pop(number, None)
        if asked is not None:
            self._timers.disarm(asked)
            asked.done(answer)
        elif isinstance(answer, Reservation):  # no one waits for it any more
            self.ask(Forget(answer), lambda _answer: None, _LAST_PATIENCE_S)
