"""What a confined process may have."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

MEMORY_BYTES = 512 << 20
"""Enough for the programs that are usual; an examination of a browser takes 300 MiB. Arbitrary."""


@dataclass(frozen=True)
class User:
    """A user and its group, by number."""

    uid: int
    gid: int


@dataclass(frozen=True)
class Confinement:
    """It cannot use the network, trace, signal or start other processes, or gain rights."""

    memory_bytes: int = MEMORY_BYTES
    """Private memory; files that are mapped for reading do not count."""
    cpu_s: int | None = None
    user: User | None = None
    """Whose rights it takes, if it runs as root."""
    writable: tuple[Path, ...] = ()
    """Directories that exist, below which it may write."""
    reads_process: int | None = None
    """The one process whose memory it may read (its pid). It may write nowhere then."""
