"""What the system itself has said of one process: the kernel's log, Windows' event log."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class FaultLine:
    """A fault that the system logged. Addresses are those of the dead process."""

    text: str
    module: str | None
    module_offset: int | None
    """Offset of the instruction in the module's file, where it is told (Linux 6.5 on, Windows)."""


@dataclass(frozen=True)
class SystemWords:
    """The lines that name a pid; None where there is none."""

    is_readable: bool = False
    """Whether the log could be read at all: only then its silence means something."""
    fault: FaultLine | None = None
    oom_kill: str | None = None
    seccomp: str | None = None
    exception_code: int | None = None
    """Of the fault, where it is told (Windows)."""
    fast_fail_code: int | None = None
    """The subcode of 0xC0000409, from the report of Windows."""
    hang: str | None = None
    """That its window did not answer (Windows)."""
    source: str = "kernel log"


WordsSource = Callable[[int, set[int]], SystemWords]
"""words(pid, its threads that were seen): what was said of it since the watch began."""
