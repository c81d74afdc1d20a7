"""The arguments of futex(2), as the kernel shows them of a thread that waits (linux/futex.h)."""

from __future__ import annotations

import sys
from dataclasses import dataclass

assert sys.platform == "linux"

_PRIVATE = 0x80
_CLOCK_REALTIME = 0x100
WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2 = 0, 6, 9, 11, 13
LOCKS_PI = frozenset({LOCK_PI, LOCK_PI2})
_WAITS = frozenset({WAIT, LOCK_PI, WAIT_BITSET, WAIT_REQUEUE_PI, LOCK_PI2})
WAITERS, OWNER = 0x80000000, 0x3FFFFFFF
"""A robust mutex, or one with priority inheritance, has its owner in the word that is waited on
(FUTEX_WAITERS, FUTEX_TID_MASK)."""
CONTENDED = 2
"""glibc's lll_lock waits on this value: locked, with waiters."""


@dataclass(frozen=True)
class FutexCall:
    """``limit``: the address of its time limit; 0 if there is none."""

    address: int
    operation: int
    value: int
    limit: int

    @property
    def command(self) -> int:
        return self.operation & ~(_PRIVATE | _CLOCK_REALTIME)

    @property
    def is_wait(self) -> bool:
        return self.command in _WAITS

    @property
    def is_private(self) -> bool:
        """Only threads with the same memory can wake it. The end of a thread is waited for as if it
        could come from another process."""
        return bool(self.operation & _PRIVATE)


def parse_futex(arguments: tuple[int, ...]) -> FutexCall | None:
    """Of the first four; None if there are fewer."""
    if len(arguments) < 4:
        return None
    address, operation, value, limit = arguments[:4]
    return FutexCall(address, operation & 0xFFFFFFFF, value & 0xFFFFFFFF, limit)
