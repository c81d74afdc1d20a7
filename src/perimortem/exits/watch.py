"""The seam: something that becomes readable when a process ends, and then knows how."""

from __future__ import annotations

import sys
from typing import Protocol

from perimortem.errors import UnsupportedPlatform
from perimortem.model.evidence import Evidence
from perimortem.model.exits import Exit
from perimortem.model.process import ProcessRef


class ExitWatch(Protocol):
    """One process, held so that its pid cannot be reused under us."""

    process: ProcessRef

    def fileno(self) -> int:
        """Becomes readable when the process has ended."""

    def collect_exit(self, now_ns: int) -> Exit | None:
        """How it ended; None when no source can say yet: ask again at ``retry_after_s``."""

    retry_after_s: float

    evidence: list[Evidence]

    def close(self) -> None:
        """Let go of the process."""


def open_exit_watch(process: ProcessRef, *, is_child: bool) -> ExitWatch:
    """Hold ``process``. Raises ProcessGone when it ended before, AccessDenied without the right."""
    if sys.platform == "linux":
        from perimortem.exits.linux.pidfd import ChildExitWatch, ForeignExitWatch

        return ChildExitWatch(process) if is_child else ForeignExitWatch(process)
    raise UnsupportedPlatform("watch a process end")
