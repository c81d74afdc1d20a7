"""A line of `perimortem list --json`."""

from __future__ import annotations

from perimortem.documents.base import Document
from perimortem.documents.report import Where, Who


class ListedIncident(Document, frozen=True):
    """An incident in brief; null in the last four where its report cannot be read."""

    number: int
    verdict: str
    name: str
    pid: int | None
    started_at: str
    ended_at: str
    """Of an incident that has not ended, the time of its verdict."""
    has_dump: bool
    repeats: int
    """Further incidents of the same program, which were only counted (setting incidents-per-hour)."""
    who: Who | None
    where: Where | None
    why: str | None
    signature: str | None
