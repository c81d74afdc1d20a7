"""What the threads of a process do at one instant, from outside; two samples show why it hangs."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class HangKind(StrEnum):
    """Why nothing progresses, as far as the kernel knows."""

    LOCK = "lock"
    """It waits for a lock, a condition or the end of a thread: for another thread of the process."""
    BUSY = "busy"
    DISK = "disk"
    NETWORK = "network"
    WAITING = "waiting"
    """For something else from outside: input, a child, an event, a time."""
    STARVED = "starved"
    """It is ready to run, but is not scheduled."""
    STOPPED = "stopped"
    TRACED = "traced"
    FROZEN = "frozen"
    SUSPENDED = "suspended"
    """The machine was suspended between the samples."""
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class ThreadSample:
    """One thread. Counters grow; they stay 0 if the system does not provide them."""

    tid: int
    name: str
    wait: HangKind | None
    """What it waits for; None: it runs or is ready to."""
    description: str
    """The same as text: the system call, the place in the kernel."""
    at_ns: int
    """When its counters were read, by the monotonic clock."""
    run_ns: int
    ready_ns: int
    """Time ready to run while other threads ran."""
    slices: int
    user_ns: int = 0
    kernel_ns: int = 0
    """Both as the clock ticks have it: in steps of some 10 ms."""
    transfers: int = 0
    """Calls that read or wrote."""


@dataclass(frozen=True)
class ProcessSample:
    """All threads, or the first of very many."""

    monotonic_ns: int
    suspended_ns: int
    """How long the machine has been suspended since it started."""
    threads: tuple[ThreadSample, ...]
    thread_count: int


@dataclass(frozen=True)
class ThreadActivity:
    """One thread between two samples."""

    tid: int
    name: str
    kind: HangKind
    description: str
    run_ms: float
    ready_ms: float


@dataclass(frozen=True)
class HangCause:
    """The kind of a hang, the thread that shows it, and what the others did."""

    kind: HangKind
    culprit: ThreadActivity | None
    threads: tuple[ThreadActivity, ...]
    over_ms: float
    thread_count: int
