"""What the system itself logged about one process: the kernel's log, Windows' event log."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True)
class FaultLine:
    """A fault that the system logged. Addresses are those of the dead process."""

    text: str
    module: str | None
    module_offset: int | None
    """Offset of the instruction in the module's file, if logged (since Linux 6.5, Windows)."""


@dataclass(frozen=True)
class SentSignal:
    """A fatal signal that a process sent; the time is CLOCK_MONOTONIC."""

    signal: int
    sender_pid: int
    sender_name: str
    at_ns: int
    is_own: bool = False
    """It sent it to itself."""


@dataclass(frozen=True)
class SystemLogFindings:
    """The log entries about a pid; None if there are none."""

    is_readable: bool = False
    """Whether the log could be read at all, without a gap: only then does its silence mean something."""
    logs_faults: bool = False
    """Whether a fault would have been logged."""
    fault: FaultLine | None = None
    oom_kill: str | None = None
    seccomp: str | None = None
    exception_code: int | None = None
    """Of the fault, if logged (Windows)."""
    fast_fail_code: int | None = None
    """The subcode of 0xC0000409, from Windows' report."""
    hang: str | None = None
    """That its window did not respond (Windows)."""
    source: str = "kernel log"
    signals: tuple[SentSignal, ...] = ()
    """In the order in which they were sent."""
    trace_error: str = ""
    """Why signals could not be traced."""


class SystemLog(Protocol):
    """The messages since the watch began."""

    def __call__(self, pid: int, tids: set[int], /) -> SystemLogFindings:
        """For one process; ``tids``: its known threads."""

    def begin_trace(self) -> None:
        """Starts what takes time to start."""

    def close(self) -> None:
        """Stop listening."""
