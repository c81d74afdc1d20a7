"""Which processes belong together: known to the front end, needed by the effects."""

from __future__ import annotations

from typing import Protocol

from perimortem.model.incident import Incident
from perimortem.monitor.target import Target


class Family(Protocol):
    """The processes around a target."""

    def find_culprit(self, target: Target) -> Target:
        """The process to examine when ``target`` is silent: a wrapper only waits for its child."""

    def list_tree(self, target: Target) -> list[Target]:
        """Every living process of the tree that ``target`` belongs to, itself included."""


class Alone:
    """The family of processes that are watched without their descendants."""

    def find_culprit(self, target: Target) -> Target:
        return target

    def list_tree(self, target: Target) -> list[Target]:
        return [target]


class Reporter(Protocol):
    """How a front end handles the end of a target."""

    def on_exit(self, target: Target, now_ns: int) -> None:
        """It has ended and the verdict is about to be drawn: last chance to read its final output."""

    def complete_end(self, target: Target, incident: Incident) -> tuple[Incident, bool]:
        """The verdict, with all findings; returns what is reported, and whether it is stored."""

    def report_end(self, target: Target, incident: Incident) -> None:
        """It is in the store, if that is possible and wanted."""

    def report_release(self, target: Target, incident: Incident) -> None:
        """The watch ends before the target does; reports what is known of it."""
