"""The progress of a dump, reported by the worker while it copies."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True)
class Progress:
    """Bytes of memory written or skipped so far, and how many there will be."""

    done_bytes: int
    total_bytes: int
    elapsed_s: float

    @property
    def rate_bytes_per_s(self) -> float:
        return self.done_bytes / self.elapsed_s if self.elapsed_s > 0 else 0.0

    @property
    def left_s(self) -> float | None:
        """None while the rate is unknown."""
        rate = self.rate_bytes_per_s
        return (self.total_bytes - self.done_bytes) / rate if rate > 0 else None


OnProgress = Callable[[Progress], None]
