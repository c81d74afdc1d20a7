"""The seam: an object that becomes ready when a process ends, and then knows how."""

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
        """How it ended; None if no source knows yet: retry at ``retry_after_s``."""

    retry_after_s: float

    facts: list[Fact]
    """Evidence found on the way."""

    def send_signal(self, number: int) -> None:
        """Send a signal to exactly this process. Raises OSError.

        On Windows, which has no signals, each of them ends the process (TerminateProcess)."""

    def close(self) -> None:
        """Release the process."""
