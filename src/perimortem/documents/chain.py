"""Chains of reporters: `perimortem chain --json`."""

from __future__ import annotations

from typing import Literal

from perimortem.documents.base import Document
from perimortem.model.chain import Relation
from perimortem.model.evidence import Confidence


class ListedProcess(Document, frozen=True):
    """A process of the list."""

    pid: int
    parent_pid: int | None
    name: str
    command_line: str


class FirstFault(Document, frozen=True):
    """A process that others exist because of, and that exists because of no other."""

    pid: int
    process: ListedProcess | None
    """Null where the list does not have it."""
    count: int
    """Processes that followed."""
    depth: int
    chain: list[int]
    """The pids of its longest chain."""


class Link(Document, frozen=True):
    """One process exists because of another."""

    pid: int
    cause_pid: int
    relation: Relation
    confidence: Confidence
    text: str


class Chains(Document, frozen=True):
    """One analysis."""

    schema_version: Literal[1]
    process_count: int
    link_count: int
    first_faults: list[FirstFault]
    links: list[Link]
    notes: list[str]
    advice: list[str]
