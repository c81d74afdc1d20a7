"""A clock that moves only when it is moved."""

from __future__ import annotations


class ManualClock:
    """Implements ``clock.Clock``. All times are nanoseconds."""

    def __init__(self, now_ns: int = 1_000_000_000) -> None:
        self.now_ns = now_ns
        self.suspended_ns = 0

    def advance(self, seconds: float) -> None:
        """Time passes."""
        self.now_ns += int(seconds * 1e9)

    def suspend(self, seconds: float) -> None:
        """The machine sleeps: only CLOCK_BOOTTIME and the wall clock advance."""
        self.suspended_ns += int(seconds * 1e9)

    def monotonic_ns(self) -> int:
        return self.now_ns

    def boottime_ns(self) -> int:
        return self.now_ns + self.suspended_ns

    def realtime_ns(self) -> int:
        return self.boottime_ns()
