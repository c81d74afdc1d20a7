"""epoll, by the standard library."""

from __future__ import annotations

import selectors
import sys

assert sys.platform == "linux"

from perimortem.system.selector import Call, Selector


def open_selector() -> Selector:
    return _Epoll()


class _Epoll:
    def __init__(self) -> None:
        self._selector = selectors.DefaultSelector()

    def register(self, waitable: int, call: Call) -> None:
        self._selector.register(waitable, selectors.EVENT_READ, call)

    def unregister(self, waitable: int) -> None:
        self._selector.unregister(waitable)

    def wait(self, timeout_s: float | None) -> list[Call]:
        return [key.data for key, _ in self._selector.select(timeout_s)]

    def close(self) -> None:
        self._selector.close()
