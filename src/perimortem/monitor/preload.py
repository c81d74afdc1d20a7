"""Whether the agent comes into a program by itself."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class Preload:
    """The library to preload, or why not."""

    library: Path | None
    reason: str = ""
    is_for_program: bool = False
    """Nothing is preloaded: the program itself loads the agent, or does not (Windows)."""
