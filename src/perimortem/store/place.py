"""Where reports and dumps are kept, and how many."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from perimortem.store.retention import Limits


@dataclass(frozen=True)
class StorePlace:
    """For one monitor."""

    path: Path
    """The database."""
    spools: tuple[Path, ...]
    """Directories: a later one is used where the earlier ones cannot be written."""
    dumps_dir: Path
    limits: Limits
