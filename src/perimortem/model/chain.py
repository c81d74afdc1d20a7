"""Reporters that report reporters, followed to the first fault."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perimortem.model.evidence import Confidence


@dataclass(frozen=True)
class ListedProcess:
    """A process in a process list.

    ``created``: a time in any unit of one clock, precise enough to order processes.
    """

    pid: int
    parent_pid: int | None
    name: str
    command_line: str = ""
    created: float | None = None


class Relation(StrEnum):
    """Why one process exists because of another."""

    COMMAND_LINE = "command line"
    """It names the process that it reports."""
    PARENT = "parent"
    """Reporters are started by the process that they report."""
    TIME = "time"
    """It ended right after the other."""


@dataclass(frozen=True)
class Link:
    """``pid`` exists because of ``cause_pid``."""

    pid: int
    cause_pid: int
    relation: Relation
    confidence: Confidence
    words: str


@dataclass(frozen=True)
class FirstFault:
    """The start of chains. ``process``: None if it is not in the list: gone, or not listed."""

    pid: int
    process: ListedProcess | None
    chain: tuple[int, ...]
    """Pids from the first fault to the last reporter, along the longest chain."""
    count: int
    """The number of processes that exist because of it."""
    depth: int


@dataclass(frozen=True)
class Chains:
    """The result for a list of processes."""

    processes: dict[int, ListedProcess]
    links: tuple[Link, ...]
    first_faults: tuple[FirstFault, ...]
    """The one with the most followers first."""
    notes: tuple[str, ...]
    """What was rejected, or is missing to continue."""
    advice: tuple[str, ...]
