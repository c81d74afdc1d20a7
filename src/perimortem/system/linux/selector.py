"""epoll(7). It hands out what is ready in the order in which it became so, and in turns."""

from __future__ import annotations

import math
import select
import sys

assert sys.platform == "linux"

from perimortem.system.selector import CALLS_MAX, Call, Selector


def open_selector() -> Selector:
    return _Epoll()


class _Epoll:
    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._first = select.poll()
        """What is never left for the next turn."""
        self._calls: dict[int, Call] = {}
        self._are_first: set[int] = set()

    def register(self, waitable: int, call: Call, *, comes_first: bool = False) -> None:
        self._epoll.register(waitable, select.EPOLLIN)
        self._calls[waitable] = call
        if comes_first:
            self._first.register(waitable, select.POLLIN)
            self._are_first.add(waitable)

    def unregister(self, waitable: int) -> None:
        del self._calls[waitable]
        self._epoll.unregister(waitable)
        if waitable in self._are_first:
            self._are_first.remove(waitable)
            self._first.unregister(waitable)

    def wait(self, timeout_s: float | None) -> list[Call]:
        timeout_s = None if timeout_s is None else math.ceil(max(0.0, timeout_s) * 1e3) / 1e3
        ready = [fd for fd, _ in self._epoll.poll(timeout_s, CALLS_MAX)]
        if len(ready) == CALLS_MAX:
            first = [fd for fd, _ in self._first.poll(0)]
            ready = first + [fd for fd in ready if fd not in first]
        return [self._calls[fd] for fd in ready]

    def close(self) -> None:
        self._epoll.close()
