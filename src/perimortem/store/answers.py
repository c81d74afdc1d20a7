"""What a keeper answers."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class Kept:
    """What became of a report."""

    number: int | None = None
    """In the store."""
    note: str | None = None
    """Why it is not in the store, and where it is."""
    is_kept: bool = True
    """False: it could be written nowhere."""


@dataclass(frozen=True)
class Reservation:
    """Permission to dump."""

    number: int
    size_limit_bytes: int


@dataclass(frozen=True)
class Refusal:
    """Why not, for a report: one phrase."""

    why: str
    is_repeat: bool = False
    """Similar dumps were already kept: another would show nothing new."""
