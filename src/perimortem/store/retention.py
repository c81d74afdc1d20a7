"""Which dumps must be removed so that the store keeps its limits: a plan only, nothing is touched."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Limits:
    """With the names of coredump.conf."""

    max_use_bytes: int
    """All dumps and the database together."""
    keep_free_bytes: int
    """Of the file system that holds them."""
    max_age_s: float
    dumps_per_hour: int
    """Per signature; further ones are counted."""
    incidents_per_hour: int = 100
    """Per program, clean and unclean ends apart; further ones are counted."""


@dataclass(frozen=True)
class StoredDump:
    """A dump file. One without a signature (put there by another program) is its own kind."""

    path: Path
    size_bytes: int
    taken_at_s: float
    signature: str | None


def plan_removals(
    dumps: Sequence[StoredDump], excess_bytes: int, oldest_s: float
) -> list[StoredDump]:
    """Those taken before ``oldest_s``, and the oldest until ``excess_bytes`` are freed.

    Never the newest of a signature: it may be the only evidence there will ever be. So fewer bytes
    may be freed.
    """
    newest: dict[str, StoredDump] = {}
    for dump in dumps:
        key = dump.signature or str(dump.path)
        if key not in newest or dump.taken_at_s >= newest[key].taken_at_s:
            newest[key] = dump
    spared = {dump.path for dump in newest.values()}
    candidates = sorted(
        (dump for dump in dumps if dump.path not in spared), key=lambda dump: dump.taken_at_s
    )
    planned = []
    for dump in candidates:
        if excess_bytes <= 0 and dump.taken_at_s >= oldest_s:
            break
        planned.append(dump)
        excess_bytes -= dump.size_bytes
    return planned
