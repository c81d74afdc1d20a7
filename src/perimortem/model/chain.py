"""Reporters that report reporters, followed to the fault that was first."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from perimortem.model.evidence import Confidence


@dataclass(frozen=True)
class ListedProcess:
    """A process as some list tells of it.

    ``created``: a time in any unit of one clock, exact enough to tell who was there first.
    """

    pid: int
    parent_pid: int | None
    name: str
    command_line: str = ""
    created: float | None = None


class Relation(StrEnum):
    """Why one process is there because of another."""

    COMMAND_LINE = "command line"
    """It names the process that it reports."""
    PARENT = "parent"
    """Reporters are started by whom they report."""
    TIME = "time"
    """It ended right after the other."""


@dataclass(frozen=True)
class Link:
    """``pid`` is there because of ``cause_pid``."""

    pid: int
    cause_pid: int
    relation: Relation
    confidence: Confidence
    words: str


@dataclass(frozen=True)
class FirstFault:
    """Where chains begin. ``process``: None when it is not in the list: gone, or not told."""

    pid: int
    process: ListedProcess | None
    chain: tuple[int, ...]
    """Pids from the first fault to the last reporter, along the longest chain."""
    count: int
    """Of all that is there because of it."""
    depth: int


@dataclass(frozen=True)
class Chains:
    """What came of a list of processes."""

    processes: dict[int, ListedProcess]
    links: tuple[Link, ...]
    first_faults: tuple[FirstFault, ...]
    """The one with the most followers first."""
    notes: tuple[str, ...]
    """What was not believed, or is missing to go on."""
    advice: tuple[str, ...]
