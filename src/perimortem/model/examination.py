"""The result of examining a dump or a live process: the analysis of one snapshot."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.model.reason import Reason, Signature
from perimortem.model.snapshot import Snapshot
from perimortem.model.stack import ThreadStack
from perimortem.model.wait import LockCycle, ThreadWait


@dataclass(frozen=True)
class Examination:
    """All findings, and descriptions of what was not found."""

    snapshot: Snapshot
    stacks: tuple[ThreadStack, ...]
    crashed_tid: int | None
    reason: Reason | None
    signature: Signature | None
    waits: tuple[ThreadWait, ...]
    cycles: tuple[LockCycle, ...]
    missing: tuple[tuple[str, str], ...]
    """(module, what of it was not found and where to get it)"""
    notes: tuple[str, ...]
    """What could not be done, each with the reason."""
    paused_ms: float | None = None
    """For a live process."""
