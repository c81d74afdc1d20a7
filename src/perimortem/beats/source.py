"""The seam: something that knows when a process last gave a sign of life."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from perimortem.model.recording import Event, Heartbeat


class BeatSource(Protocol):
    """Heartbeats and events of one process that do not come from its recorder."""

    name: str
    """Of its heartbeat."""
    blind_spot: str
    """What it cannot see, in a few words, for the start line and the report."""

    warning: str
    """What a user should hear before he relies on it; empty when there is nothing."""

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        """As last observed; empty where it has nothing to say (yet)."""

    def events(self) -> Iterable[Event]:
        """The last ones; times are CLOCK_MONOTONIC."""

    def observe(self, now_ns: int) -> None:
        """Look again. Called about once a second, and before a hang is told."""

    def disregard(self, until_ns: int) -> None:
        """We held the process (a dump, a debugger): what moves until then is our doing."""

    def facts(self) -> tuple[str, ...]:
        """What it found out about a silence, in words, for the evidence."""

    def close(self) -> None:
        """Let go of descriptors."""
