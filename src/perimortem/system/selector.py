"""The seam: wait for many things at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Call = Callable[[int], None]
"""call(now_ns)"""

CALLS_MAX = 32
"""So many of those that are ready are handed out at once: the others follow with the next wait. A call
takes 0.1 to 0.7 ms. Arbitrary."""


class Selector(Protocol):
    """A ``waitable`` is a file descriptor on Linux, a handle on Windows."""

    def register(self, waitable: int, call: Call, *, comes_first: bool = False) -> None:
        """``call`` is returned when the waitable is ready, as long as it is; in turns with the others,
        unless it ``comes_first``: then each time."""

    def unregister(self, waitable: int) -> None:
        """No longer watched; it may be closed now."""

    def wait(self, timeout_s: float | None) -> list[Call]:
        """The calls of what is ready, after ``timeout_s`` at the latest (None: never)."""

    def close(self) -> None:
        """Registered waitables are left as they are."""
