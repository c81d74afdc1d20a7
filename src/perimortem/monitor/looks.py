"""Looks at what processes wait for, done by a child. Nothing here waits for it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec

from perimortem.model.stuck import LookAnswer
from perimortem.monitor.timers import Timers
from perimortem.system import Leaving, Selector, Service

_SERVICE = "perimortem.monitor.look_service"
PATIENCE_S = 20
"""For one look; then there are none for a while: something keeps it from an answer. Arbitrary."""
_PAUSE_NS = 600_000_000_000
_ANSWER_MAX = 4 << 20
_SHARE = 20
"""Looks take one part in so many of a processor at most."""

Done = Callable[[LookAnswer | None], None]
"""done(what does not continue), once for each look; None: there was no answer"""


class Looks:
    """One at a time. The child is started by the first one."""

    def __init__(self, selector: Selector, timers: Timers, now_ns: Callable[[], int]) -> None:
        self._selector = selector
        self._timers = timers
        self._now_ns = now_ns
        self._service: Service | None = None
        self._leaving = Leaving()
        self._done: Done | None = None
        self._received = b""
        self._not_before_ns = 0

    @property
    def is_busy(self) -> bool:
        """It looks, or rests after the last look."""
        return self._done is not None or self._now_ns() < self._not_before_ns

    def pids(self) -> set[int]:
        return self._leaving.pids() | ({self._service.pid} if self._service is not None else set())

    def begin(self, pids: list[int], done: Done) -> None:
        """Only while it is not busy."""
        assert self._done is None
        self._done = done
        if self._service is None:
            with suppress(OSError):
                self._service = Service(_SERVICE, None)
                self._selector.register(self._service.waitable(), self._read)
        if self._service is None:
            self._give_up()
            return
        due_ns = self._now_ns() + PATIENCE_S * 1_000_000_000
        self._timers.arm(self, due_ns, lambda _now_ns: self._give_up())
        self._service.send(msgspec.json.encode(pids) + b"\n")

    def close(self) -> None:
        self._done = None
        self._drop()

    def _read(self, _now_ns: int) -> None:
        assert self._service is not None
        part = self._service.read()
        if part is None:
            return
        self._received += part
        if not part or len(self._received) > _ANSWER_MAX:
            self._give_up()
        elif self._received.endswith(b"\n"):
            line, self._received = self._received, b""
            answer = msgspec.json.decode(line, type=LookAnswer)
            self._not_before_ns = self._now_ns() + _SHARE * answer.cpu_ns
            self._timers.disarm(self)
            self._answer(answer)

    def _give_up(self) -> None:
        self._not_before_ns = self._now_ns() + _PAUSE_NS
        self._drop()
        self._answer(None)

    def _answer(self, found: LookAnswer | None) -> None:
        done, self._done = self._done, None
        if done is not None:
            done(found)

    def _drop(self) -> None:
        self._timers.disarm(self)
        self._received = b""
        service, self._service = self._service, None
        if service is not None:
            self._selector.unregister(service.waitable())
            service.kill()
            self._leaving.add(service)
