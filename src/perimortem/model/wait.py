"""What threads wait for, which thread holds it, and whether they form a cycle."""

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
    """Something built on a futex; the kind is not known."""


@dataclass(frozen=True)
class ThreadWait:
    """One thread. ``owner_tid``: the thread that must act before it continues; None if unknown."""

    tid: int
    kind: WaitKind
    address: int
    owner_tid: int | None
    has_limit: bool = False
    """The wait has a time limit."""
    name: str | None = None
    """Of the lock, if it is a named variable."""
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
