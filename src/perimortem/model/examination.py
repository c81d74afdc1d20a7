"""A dump or a live process, taken apart: what analysis makes of one snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.model.reason import Reason, Signature
from perimortem.model.snapshot import Snapshot
from perimortem.model.stack import ThreadStack
from perimortem.model.wait import LockCycle, ThreadWait


@dataclass(frozen=True)
class Examination:
    """Everything that was found, and in words what was not."""

    snapshot: Snapshot
    stacks: tuple[ThreadStack, ...]
    crashed_tid: int | None
    reason: Reason | None
    signature: Signature | None
    waits: tuple[ThreadWait, ...]
    cycles: tuple[LockCycle, ...]
    missing: tuple[tuple[str, str], ...]
    """(module, what of it was not found and where it may be had)."""
    notes: tuple[str, ...]
    """What could not be done, each with the reason."""
    paused_ms: float | None = None
    """Of a live process."""
