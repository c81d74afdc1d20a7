"""The notifications that a front end gets, as things happen."""

from __future__ import annotations

from typing import Protocol

from perimortem.model.incident import Incident
from perimortem.monitor.target import Target
from perimortem.monitor.targets import Targets


class Listener(Protocol):
    """Every call must return quickly: the watch is blocked meanwhile."""

    status_interval_ns: int | None
    """How often :meth:`on_tick` is called; None: never."""

    def on_hang(self, target: Target, incident: Incident) -> None:
        """A hang was detected; the incident is what is known so far."""

    def on_hang_examined(self, target: Target, incident: Incident) -> None:
        """Its dump and stacks are available."""

    def on_recovery(self, target: Target) -> None:
        """The hang is over."""

    def on_end(self, target: Target, incident: Incident) -> None:
        """A target, or a descendant of one, has ended; this is the verdict."""

    def on_tick(self, targets: Targets, now_ns: int) -> None:
        """For a status line."""
