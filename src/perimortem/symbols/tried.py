"""What the search for a module's files has tried."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from perimortem.model.snapshot import Module
from perimortem.symbols.wanted import Wanted

Fetch = Callable[[Module, Wanted], "Fetched"]
"""Asks symbol servers."""
NOT_THERE, FOUND = "not there", "found"


@dataclass(frozen=True)
class Tried:
    """One place that was looked at, or asked."""

    wanted: Wanted
    place: str
    outcome: str


@dataclass(frozen=True)
class Fetched:
    """The file, or None; and each server's answer."""

    path: Path | None
    tried: tuple[Tried, ...]


@dataclass
class SearchLog:
    """By the base of a module; kept only where it is asked for."""

    is_kept: bool = False
    places: dict[int, list[Tried]] = field(default_factory=lambda: defaultdict(list))

    def note(self, module: Module, wanted: Wanted, place: object, outcome: str) -> None:
        if self.is_kept:
            self.places[module.base].append(Tried(wanted, str(place), outcome))
