"""Facts with their source: the basis of a verdict."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Confidence(StrEnum):
    """How a fact came to be known."""

    OBSERVED = "observed"
    DERIVED = "derived"
    ASSUMED = "assumed"


@dataclass(frozen=True)
class Evidence:
    """One fact as a sentence, with its source and confidence."""

    fact: str
    source: str
    confidence: Confidence
