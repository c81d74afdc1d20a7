"""How long the loop does not wait for events: in that time nothing is noticed and no one is answered."""

from __future__ import annotations

from collections.abc import Callable

from perimortem.clock import Clock
from perimortem.monitor.timers import Timers
from perimortem.store.requests import NotePause
from perimortem.system import ProcessorWait

_NOTED_NS = 20_000_000
"""Shorter pauses are not worth a write."""
_NOTE_AFTER_NS = 60_000_000_000


class LoopPauses:
    """Of one loop: :meth:`begin` when a wait is over, :meth:`end` before the next one."""

    def __init__(
        self,
        clock: Clock,
        timers: Timers,
        note: Callable[[NotePause], None],
        read_starved_ns: Callable[[], int] = lambda: 0,
    ) -> None:
        """``note``: is given the longest, a minute after the first long one and at the end;
        ``read_starved_ns``: how long children that we waited for had no processor."""
        self._clock = clock
        self._timers = timers
        self._note = note
        self._processor = ProcessorWait()
        self._read_starved_ns = read_starved_ns
        self._begun_ns: int | None = None
        self._waited_ns = 0
        self._longest: NotePause | None = None

    def begin(self) -> None:
        self._begun_ns = self._clock.monotonic_ns()
        self._waited_ns = self._read_waited_ns()

    def end(self) -> None:
        if self._begun_ns is None:
            return
        now_ns = self._clock.monotonic_ns()
        took_ns, self._begun_ns = now_ns - self._begun_ns, None
        least_ns = self._longest.pause_ns if self._longest is not None else _NOTED_NS
        if took_ns <= least_ns:
            return
        waited_ns = self._read_waited_ns() - self._waited_ns
        if took_ns - waited_ns <= least_ns:
            return
        if self._longest is None:
            self._timers.arm(self, now_ns + _NOTE_AFTER_NS, lambda _now_ns: self.finish())
        self._longest = NotePause(took_ns - waited_ns, waited_ns)

    def _read_waited_ns(self) -> int:
        return self._processor.read_ns() + self._read_starved_ns()

    def finish(self) -> None:
        """Note the longest so far."""
        longest, self._longest = self._longest, None
        self._timers.disarm(self)
        if longest is not None:
            self._note(longest)

    def close(self) -> None:
        self._processor.close()
