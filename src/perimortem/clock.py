"""Time is passed in through a clock, so that every decision can be tested without waiting."""

from __future__ import annotations

import sys
import time
from datetime import UTC, datetime, timedelta
from typing import Protocol


class Clock(Protocol):
    """The three clocks that a monitor needs, in nanoseconds."""

    def monotonic_ns(self) -> int:
        """Time without suspend (CLOCK_MONOTONIC, QueryUnbiasedInterruptTime): that of beats."""

    def boottime_ns(self) -> int:
        """Time including suspend (CLOCK_BOOTTIME, GetTickCount64): the difference reveals a suspend."""

    def realtime_ns(self) -> int:
        """Wall clock, nanoseconds since 1970-01-01 UTC."""


if sys.platform == "win32":
    import ctypes

    # The clock with which the agent stamps its beats (native/src/windows/clock.h).
    _kernel32 = ctypes.WinDLL("kernel32")
    _kernel32.GetTickCount64.restype = ctypes.c_ulonglong

    def _monotonic_ns() -> int:
        now_100ns = ctypes.c_ulonglong()
        _kernel32.QueryUnbiasedInterruptTime(ctypes.byref(now_100ns))
        return now_100ns.value * 100

    def _boottime_ns() -> int:
        return int(_kernel32.GetTickCount64()) * 1_000_000

else:
    _monotonic_ns = time.monotonic_ns

    def _boottime_ns() -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME)


class SystemClock:
    """The machine's clocks."""

    def monotonic_ns(self) -> int:
        return _monotonic_ns()

    def boottime_ns(self) -> int:
        return _boottime_ns()

    def realtime_ns(self) -> int:
        return time.time_ns()


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_FIRST_US = (datetime.min.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)
_LAST_US = (datetime.max.replace(tzinfo=UTC) - _EPOCH) // timedelta(microseconds=1)


def format_rfc3339(realtime_ns: int) -> str:
    """Wall clock nanoseconds as RFC 3339 in UTC with microseconds; clamped to the years 1 to 9999."""
    # Not by fromtimestamp: on Windows it refuses what lies before 1970.
    microseconds = min(realtime_ns // 1000, _LAST_US)
    moment = _EPOCH + timedelta(microseconds=max(microseconds, _FIRST_US))
    return moment.isoformat(timespec="microseconds").replace("+00:00", "Z")
