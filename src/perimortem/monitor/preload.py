"""Whether the agent is preloaded into a program."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Preload:
    """The library to preload, or why not."""

    library: Path | None
    reason: str = ""
    is_for_program: bool = False
    """Nothing is preloaded: the program loads the agent itself, or not at all (Windows)."""
