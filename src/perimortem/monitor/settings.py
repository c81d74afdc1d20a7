"""What a watch is asked to do."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from perimortem.model.dump import MINI, MinidumpType
from perimortem.watch.policy import WatchPolicy


@dataclass(frozen=True)
class Settings:
    """Directories, limits and choices of one run of the monitor."""

    run_dir: Path
    data_dir: Path
    policy: WatchPolicy = field(default_factory=WatchPolicy)
    dump_types: MinidumpType | None = MINI
    """None: no dumps."""
    collect_stacks: bool = True
    use_agent: bool = True
    dump_size_limit_bytes: int = 64 << 30
    dump_deadline_s: float = 60.0
    stacks_deadline_s: float = 30.0

    @property
    def dumps_dir(self) -> Path:
        return self.data_dir / "dumps"

    @property
    def store_path(self) -> Path:
        return self.data_dir / "incidents.db"
