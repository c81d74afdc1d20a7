"""The seam: wait for many things at once."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

Call = Callable[[int], None]
"""call(now_ns)"""


class Selector(Protocol):
    """A ``waitable`` is a file descriptor on Linux, a handle on Windows."""

    def register(self, waitable: int, call: Call) -> None:
        """``call`` is handed out whenever the waitable is ready, as long as it is."""

    def unregister(self, waitable: int) -> None:
        """Not watched any more; it may be closed now."""

    def wait(self, timeout_s: float | None) -> list[Call]:
        """The calls of all that is ready, at the latest after ``timeout_s`` (None: never)."""

    def close(self) -> None:
        """What was registered is left as it is."""
