"""What threads wait for, who has it, and whether they wait in a circle."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perimortem.model.evidence import Confidence


class WaitKind(StrEnum):
    """What a thread waits for."""

    MUTEX = "mutex"
    RWLOCK = "rwlock"
    CONDITION = "condition"
    SEMAPHORE = "semaphore"
    THREAD = "thread"
    """The end of another thread."""
    GIL = "gil"
    PYTHON_LOCK = "python-lock"
    FUTEX = "futex"
    """Something that is built on it; what is not known."""


@dataclass(frozen=True)
class ThreadWait:
    """One thread. ``owner_tid``: who must act before it goes on; None when nobody knows."""

    tid: int
    kind: WaitKind
    address: int
    owner_tid: int | None
    has_limit: bool = False
    """It waits no longer than a time."""
    name: str | None = None
    """Of the lock, where it is a variable with a name."""
    detail: str = ""
    is_assumed: bool = False
    """The owner has entered a `with` of it, and may have released it inside."""


@dataclass(frozen=True)
class LockCycle:
    """Each waits for the owner of the next wait; the last one for that of the first."""

    waits: tuple[ThreadWait, ...]

    @property
    def confidence(self) -> Confidence:
        is_assumed = any(wait.is_assumed for wait in self.waits)
        return Confidence.DERIVED if is_assumed else Confidence.OBSERVED
