"""The limits of a watch, with their defaults."""

from __future__ import annotations

from dataclasses import dataclass, field

SECOND_NS = 1_000_000_000
_LOOK_INTERVAL_MOST_NS = 5 * SECOND_NS // 2


AGENT_HEARTBEATS = frozenset({"process", "progress", "python"})
"""Beaten or observed once a second, independently of the program."""
AGENT_THRESHOLD_LEAST_NS = 3 * SECOND_NS
"""Three missed beats: a general threshold below that would call the rhythm a hang."""
AGENT_THRESHOLD_NAMED_LEAST_NS = 3 * SECOND_NS // 2
"""The same if the user names the heartbeat: one missed beat, and room for a late one."""


@dataclass(frozen=True)
class WatchPolicy:
    """Limits in nanoseconds. ``threshold_of_ns`` overrides single heartbeats by name."""

    threshold_ns: int = 10 * SECOND_NS
    """Without a beat for this long it is late. For heartbeats that set no threshold."""
    grace_ns: int = 60 * SECOND_NS
    """For the first beat after a heartbeat was registered: programs load before they beat."""
    second_sample_ns: int = 20_000_000
    """A late heartbeat is hung only when a second sample, this much later, finds no beat either."""
    hung_sample_ns: int = 250_000_000
    """How often a hung target is sampled, to see it recover."""
    quiet_after_ns: int = 60 * SECOND_NS
    """What is only suspicious (``model.stuck.Grade``) is mentioned after that; 0: never."""
    threshold_of_ns: dict[str, int] = field(default_factory=dict)

    @property
    def progress_threshold_ns(self) -> int:
        return self.threshold_of_ns.get("progress", self.threshold_ns)

    @property
    def progress_interval_ns(self) -> int:
        """How often it is read which threads have run."""
        return min(self.progress_threshold_ns // 4, _LOOK_INTERVAL_MOST_NS)
