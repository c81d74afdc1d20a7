"""A selector without file descriptors: a test says what is ready, and waiting moves the clock."""

from __future__ import annotations

from collections.abc import Callable

from perimortem.testing.manual_clock import ManualClock

Call = Callable[[int], None]


class FakeSelector:
    """Implements ``system.selector.Selector``. Nothing is ready until :meth:`make_ready`."""

    def __init__(self, clock: ManualClock) -> None:
        self.registered: dict[int, Call] = {}
        self.is_closed = False
        self._clock = clock
        self._ready: list[int] = []
        self._next = 1000

    def new_waitable(self) -> int:
        """One that nothing else has."""
        self._next += 1
        return self._next

    def make_ready(self, waitable: int) -> None:
        """The next wait hands out its call, if it is registered by then."""
        self._ready.append(waitable)

    def register(self, waitable: int, call: Call, *, comes_first: bool = False) -> None:
        assert waitable not in self.registered, "registered twice"
        self.registered[waitable] = call

    def unregister(self, waitable: int) -> None:
        del self.registered[waitable]

    def wait(self, timeout_s: float | None) -> list[Call]:
        """What is ready at once; else ``timeout_s`` passes on the manual clock."""
        calls = [self.registered[w] for w in self._ready if w in self.registered]
        self._ready = [w for w in self._ready if w not in self.registered]
        if not calls:
            assert timeout_s is not None, "nothing is ready, and nothing ever will be"
            self._clock.advance(timeout_s)
        return calls

    def close(self) -> None:
        self.is_closed = True
