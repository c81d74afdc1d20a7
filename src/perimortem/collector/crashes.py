"""The counts of crashes, as a sentence."""

from __future__ import annotations

from collections.abc import Mapping

_WORDS = {
    "monitor": "taken by the monitor",
    "core_file": "written as core files",
    "handler": "passed to the former handler",
    "unwanted": "without a core, as before",
    "unanswered": "not answered by the monitor in time",
    "refused": "refused, too many at once",
    "not_written": "whose core could not be written",
    "cut_off": "whose core was cut off",
}
"""By the field names of ``layout.Counts``."""


def describe_crashes(counts: Mapping[str, int]) -> str:
    """What was counted: "9 taken by the monitor; 1 refused, too many at once", or "none"."""
    parts = [f"{counts[name]:,} {words}" for name, words in _WORDS.items() if counts.get(name)]
    return "; ".join(parts) or "none"
