"""What the kernel's log said of one process."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class FaultLine:
    """A fault that the kernel logged. Addresses are those of the dead process."""

    text: str
    module: str | None
    module_offset: int | None
    """Offset of the instruction in the module's file, where the kernel prints it (Linux 6.5 on)."""


@dataclass(frozen=True)
class KernelWords:
    """The lines that name a pid; None where there is none."""

    is_readable: bool = False
    """Whether the log could be read at all: only then its silence means something."""
    fault: FaultLine | None = None
    oom_kill: str | None = None
    seccomp: str | None = None
