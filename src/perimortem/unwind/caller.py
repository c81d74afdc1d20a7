"""One step of a stack: the caller that was found, or why there is none."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.model.stack import FrameTrust


class Outermost(Exception):
    """There is no caller; carries the reason."""


class Lost(Exception):
    """There is a caller, or may be, and it was not found; carries the reason."""


@dataclass(frozen=True, slots=True)
class Caller:
    """The registers of the calling frame, by DWARF numbers, and how they were found."""

    registers: dict[int, int]
    trust: FrameTrust
    is_exact: bool = False
    """It was interrupted, rather than calling."""
