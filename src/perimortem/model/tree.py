"""The descendants of one command, and which of them died first."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.model.exits import Exit
from perimortem.model.verdict import Verdict
from perimortem.model.where import Where


@dataclass(frozen=True)
class TreeProcess:
    """One process of the tree. Times are wall clock nanoseconds."""

    pid: int
    parent_pid: int | None
    name: str
    command_line: tuple[str, ...]
    started_at_ns: int
    ended_at_ns: int | None
    exit: Exit
    verdict: Verdict | None
    """None while it runs."""
    where: Where | None
    labels: tuple[tuple[str, str], ...]
    """Of ``model.labels``, and the test of a pytest worker, if they were found."""
    number: int | None
    """Its incident in the store, if it has one."""
    ended_ns: int | None = None
    """CLOCK_MONOTONIC, when we noticed it: for the order of ends."""
    is_reaped_by_us: bool = False
    """Otherwise its parent did, which therefore outlived it."""
    is_ended_by_us: bool = False
    """Because of --on-hang."""
    is_met_dead: bool = False
    """It had ended before we could hold it."""
    why: str = ""
    """Of one that was killed as memory ran out: what its memory cgroup counted, with limit and use."""


@dataclass(frozen=True)
class Followers:
    """The number of processes that ended alike after the first death."""

    text: str
    count: int


@dataclass(frozen=True)
class FirstDeath:
    """The first process of the last cascade, and what followed from it."""

    process: TreeProcess
    followers: tuple[Followers, ...]
    """Without the command itself."""
    within_ns: int
    """From the first death to the last that followed, or to the command's end."""


@dataclass(frozen=True)
class Tree:
    """All processes but the command itself are in ``processes`` as far as there was room."""

    processes: tuple[TreeProcess, ...] = ()
    process_count: int = 0
    """How many there were, listed or not."""
    unwatched_count: int = 0
    """How many exceeded the limit of watched processes."""
    first_death: FirstDeath | None = None
