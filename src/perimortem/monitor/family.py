"""Which processes belong together: what a front end knows and the effects need."""

from __future__ import annotations

from typing import Protocol

from perimortem.model.incident import Incident
from perimortem.monitor.target import Target


class Family(Protocol):
    """The processes around a target."""

    def find_culprit(self, target: Target) -> Target:
        """The process to examine when ``target`` is silent: a wrapper only waits for its child."""

    def list_tree(self, target: Target) -> list[Target]:
        """Everything that lives of the tree that ``target`` belongs to, itself included."""


class Alone:
    """The family of processes that are watched without what came from them."""

    def find_culprit(self, target: Target) -> Target:
        return target

    def list_tree(self, target: Target) -> list[Target]:
        return [target]


class Reporter(Protocol):
    """What a front end does with the end of a target."""

    def on_exit(self, target: Target, now_ns: int) -> None:
        """It has ended, and the verdict is about to be drawn: what it said last is to be read now."""

    def report_end(self, target: Target, incident: Incident) -> None:
        """The verdict, with all that was found out."""

    def report_release(self, target: Target, incident: Incident) -> None:
        """The watch ends before the target does; what is known of it."""
