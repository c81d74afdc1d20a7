"""What a row of the campaign is, and what its cases report."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass, field

import msgspec


class Played(msgspec.Struct):
    """The outcome of one case."""

    counts: dict[str, float] = msgspec.field(default_factory=dict)
    """Figures that add up over the cases."""
    worst: dict[str, float] = msgspec.field(default_factory=dict)
    """Figures of which the largest counts."""
    problems: list[tuple[str, str]] = msgspec.field(default_factory=list)
    """(figure that must be 0, what happened)"""
    not_tried: str = ""
    """Why the case could not be played here."""

    def add(self, figure: str, number: float = 1) -> None:
        self.counts[figure] = self.counts.get(figure, 0) + number

    def fail(self, figure: str, what: str) -> None:
        self.problems.append((figure, what))


@dataclass(frozen=True)
class Plan:
    """How much of a row to play."""

    seed: int
    is_short: bool
    prefix: str = ""
    """Only cases whose names begin so."""

    def admits(self, case: str) -> bool:
        """Also the beginning of a name, of which there may be cases."""
        return case.startswith(self.prefix) or self.prefix.startswith(case)


class Row:
    """One kind of fault."""

    name: str
    title: str
    zeros: tuple[str, ...] = ()
    """The figures that must be 0, in the order of the page."""
    jobs: int = 0
    """Cases at once; 0: as many as there are processors."""
    deadline_s: float | None = 600.0
    """Of one case: what takes longer hangs. Arbitrary."""

    def list_cases(self, plan: Plan) -> Iterator[str]:
        """In the order in which they are played until the time is over; may be endless."""
        raise NotImplementedError

    def play(self, case: str) -> Played:
        """One case; what it starts is ended afterwards."""
        raise NotImplementedError

    def wrap(self, case: str) -> tuple[str, ...]:
        """The beginning of the command that plays a case: in a namespace, for example."""
        return ()


@dataclass
class Total:
    """The sum of a row."""

    row: Row
    counts: dict[str, float] = field(default_factory=dict)
    worst: dict[str, float] = field(default_factory=dict)
    problems: list[tuple[str, str, str]] = field(default_factory=list)
    """(case, figure, what happened)"""
    not_tried: dict[str, str] = field(default_factory=dict)
    cases: int = 0
    seconds: float = 0

    def take(self, case: str, played: Played) -> None:
        if played.not_tried:
            self.not_tried[case] = played.not_tried
            return
        self.cases += 1
        for figure, number in played.counts.items():
            self.counts[figure] = self.counts.get(figure, 0) + number
        for figure, number in played.worst.items():
            self.worst[figure] = max(self.worst.get(figure, number), number)
        self.problems += [(case, figure, what) for figure, what in played.problems]

    def list_figures(self) -> list[tuple[str, float]]:
        """Each figure once: cases, what was done, the worst, and what must be 0."""
        failed = Counter(figure for _, figure, _ in self.problems)
        zeros = dict.fromkeys((*self.row.zeros, *failed))
        return [
            ("cases", self.cases),
            *sorted(self.counts.items()),
            *sorted(self.worst.items()),
            *((figure, failed[figure]) for figure in zeros),
        ]
