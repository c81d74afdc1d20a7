"""The seam: an object that knows when a process last showed a sign of life."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Protocol

from perimortem.model.recording import Event, Heartbeat


class BeatSource(Protocol):
    """Heartbeats and events of one process that do not come from its recorder."""

    name: str
    """Of its heartbeat."""
    blind_spot: str
    """What it cannot detect, in a few words, for the start line and the report."""

    warning: str
    """A warning for users who rely on it; empty if there is none."""

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        """As last observed; empty if it has no finding (yet)."""

    def events(self) -> Iterable[Event]:
        """The last ones; times are CLOCK_MONOTONIC."""

    def observe(self, now_ns: int) -> None:
        """Sample again. Called about once a second, and before a hang is reported."""

    def disregard(self, until_ns: int) -> None:
        """We held the process (a dump, a debugger): activity until then is our doing."""

    def facts(self) -> tuple[str, ...]:
        """What it found out about a silence, as text, for the evidence."""

    def close(self) -> None:
        """Close descriptors."""
