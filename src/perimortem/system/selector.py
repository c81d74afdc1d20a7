"""The seam: wait for many things at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Call = Callable[[int], None]
"""call(now_ns)"""


class Selector(Protocol):
    """A ``waitable`` is a file descriptor on Linux, a handle on Windows."""

    def register(self, waitable: int, call: Call) -> None:
        """``call`` is returned whenever the waitable is ready, as long as it is."""

    def unregister(self, waitable: int) -> None:
        """No longer watched; it may be closed now."""

    def wait(self, timeout_s: float | None) -> list[Call]:
        """The calls of all that is ready, after ``timeout_s`` at the latest (None: never)."""

    def close(self) -> None:
        """Registered waitables are left as they are."""
