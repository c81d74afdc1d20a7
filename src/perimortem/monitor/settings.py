"""The settings of a watch."""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path

from perimortem.hangs.policy import WatchPolicy
from perimortem.model.dump import DumpOptions
from perimortem.model.process import ProcessRef
from perimortem.sandbox.confinement import MEMORY_BYTES
from perimortem.store.place import StorePlace


class OnHang(StrEnum):
    """The action on a hang, once it has been examined."""

    REPORT = "report"
    ABORT = "abort"
    KILL = "kill"


@dataclass(frozen=True)
class Settings:
    """Directories, limits and choices of one run of the monitor."""

    run_dir: Path
    data_dir: Path
    policy: WatchPolicy = field(default_factory=WatchPolicy)
    dump: DumpOptions | None = field(default_factory=DumpOptions)
    """None: no dumps."""
    collect_stacks: bool = True
    use_agent: bool = True
    why_no_agent: str = "--no-agent was given"
    """For a report, if it is not used."""
    use_crash_handler: bool = True
    """Have programs report their crashes."""
    follow: bool = True
    """Also watch the target's descendants."""
    beat_from: tuple[str, ...] = ()
    """Additional heartbeats: "progress" (strict), "sd-notify", "output", "file:PATH"."""
    force_pty: bool = False
    keeps_output: bool = False
    """Keep the end of the command's standard error, even if we have to be in between for that."""
    on_hang: OnHang = OnHang.REPORT
    captures_exit: bool = False
    """Trace the command until it exits, and dump it then."""
    wait_for_all: bool = False
    """Watch until the last process of the tree has ended."""
    redact: bool = True
    """Keep reports without the secrets that are known by name."""
    dump_size_limit_bytes: int = 64 << 30
    dump_deadline_s: float = 60.0
    examine_deadline_s: float = 30.0
    examine_memory_bytes: int = MEMORY_BYTES

    @property
    def dumps_dir(self) -> Path:
        return self.data_dir / "dumps"

    @property
    def store_path(self) -> Path:
        return self.data_dir / "incidents.db"


@dataclass(frozen=True)
class WriterSettings:
    """Of the process that writes for a monitor."""

    command: str
    """run, watch, monitor."""
    place: StorePlace
    settings: Settings
    monitor: ProcessRef
    recovers: bool
    """Also store and report what earlier monitors left."""
    reports_own: bool
    """Also the ends of programs that had no monitor."""
