"""Sizes and times in human notation: 2G, 500M, 10%, 30d."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SIZE_UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
_TIME_UNITS = {"s": 1, "min": 60, "m": 60, "h": 3600, "d": 86400, "w": 7 * 86400}
_SIZE = re.compile(r"([0-9]{1,15}(?:\.[0-9]{1,6})?) ?([KMGT]?)(?:i?B)?")
_SHARE = re.compile(r"([0-9]{1,3}(?:\.[0-9]{1,6})?) ?%")
_TIME = re.compile(r"([0-9]{1,9}(?:\.[0-9]{1,6})?) ?(s|min|m|h|d|w)")


@dataclass(frozen=True)
class Size:
    """Bytes, or a share of a file system."""

    text: str
    size_bytes: int | None
    share: float = 0.0

    def of(self, total_bytes: int) -> int:
        return int(total_bytes * self.share) if self.size_bytes is None else self.size_bytes

    def __str__(self) -> str:
        return self.text


def parse_size(text: str) -> Size | None:
    """2147483648, 2G, 1.5 GiB, 10%; None for anything else."""
    share = _SHARE.fullmatch(text)
    if share:
        part = float(share[1]) / 100
        return Size(text, None, part) if part <= 1 else None
    size = _SIZE.fullmatch(text)
    return Size(text, int(float(size[1]) * _SIZE_UNITS[size[2]])) if size else None


def parse_time_span(text: str) -> float | None:
    """Seconds of 90s, 30min, 12h, 30d, 2w; None for anything else."""
    span = _TIME.fullmatch(text)
    return float(span[1]) * _TIME_UNITS[span[2]] if span else None
