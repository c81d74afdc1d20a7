"""The seam: something that becomes ready when a process ends, and then knows how."""

from __future__ import annotations

from typing import Protocol

from perimortem.model.exits import Exit
from perimortem.model.fact import Fact
from perimortem.model.process import ProcessRef


class ExitWatch(Protocol):
    """One process, held so that its pid cannot be reused under us."""

    process: ProcessRef

    def waitable(self) -> int:
        """Becomes ready when the process has ended."""

    def collect_exit(self, now_ns: int) -> Exit | None:
        """How it ended; None when no source can say yet: ask again at ``retry_after_s``."""

    retry_after_s: float

    facts: list[Fact]
    """What was found out while asking."""

    def send_signal(self, number: int) -> None:
        """Send a signal to exactly this process. Raises OSError.

        On Windows, which has no signals, each of them ends the process (TerminateProcess)."""

    def close(self) -> None:
        """Let go of the process."""
