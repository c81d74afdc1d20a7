"""Looks at what processes wait for, done by a child. Nothing here waits for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from perimortem.model.stuck import StuckThreads
from perimortem.monitor.timers import Timers
from perimortem.system import Selector, Service

_SERVICE = "perimortem.monitor.look_service"
_PATIENCE_NS = 20_000_000_000
"""For one look; then there are none for a while: something keeps it from an answer. Arbitrary."""
_PAUSE_NS = 600_000_000_000
_ANSWER_MAX = 4 << 20

Done = Callable[[list[StuckThreads]], None]
"""done(the deadlocks), once for each look that was answered"""


class Looks:
    """One at a time. The child is started by the first one."""

    def __init__(self, selector: Selector, timers: Timers, now_ns: Callable[[], int]) -> None:
        self._selector = selector
        self._timers = timers
        self._now_ns = now_ns
        self._service: Service | None = None
        self._done: Done | None = None
        self._received = b""
        self._not_before_ns = 0
        """After a failure."""

    @property
    def is_busy(self) -> bool:
        return self._done is not None

    def pids(self) -> set[int]:
        return {self._service.pid} if self._service is not None else set()

    def begin(self, pids: list[int], done: Done) -> None:
        """Only while it is not busy. Without an answer ``done`` is not called."""
        assert self._done is None
        if not self._open():
            return
        assert self._service is not None
        self._done = done
        self._timers.arm(self, self._now_ns() + _PATIENCE_NS, lambda _now_ns: self._give_up())
        self._service.send(msgspec.json.encode(pids) + b"\n")

    def close(self) -> None:
        self._drop()

    def _open(self) -> bool:
        if self._service is None and self._now_ns() >= self._not_before_ns:
            with suppress(OSError):
                self._service = Service(_SERVICE, None)
                self._selector.register(self._service.waitable(), self._read)
        return self._service is not None

    def _read(self, _now_ns: int) -> None:
        assert self._service is not None
        part = self._service.read()
        if part is None:
            return
        self._received += part
        if not part or len(self._received) > _ANSWER_MAX:
            self._give_up()
        elif self._received.endswith(b"\n"):
            self._answer()

    def _answer(self) -> None:
        line, self._received = self._received, b""
        done, self._done = self._done, None
        self._timers.disarm(self)
        if done is not None:
            done(msgspec.json.decode(line, type=list[StuckThreads]))

    def _give_up(self) -> None:
        self._not_before_ns = self._now_ns() + _PAUSE_NS
        self._drop()

    def _drop(self) -> None:
        self._timers.disarm(self)
        self._done = None
        service, self._service = self._service, None
        if service is not None:
            self._selector.unregister(service.waitable())
            service.end(0)
