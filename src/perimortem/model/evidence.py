"""Facts with their source: what a verdict rests on."""

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
    """One fact in words, where it comes from, and how sure it is."""

    fact: str
    source: str
    confidence: Confidence
