"""What keeps a dump from its disk, on any system: the place is taken, or there is no room for it."""

from __future__ import annotations

import errno
from pathlib import Path

from perimortem.errors import CaptureFailed

KEEP_FREE_SHARE = 20
"""A dump leaves at least a twentieth of the disk free, or 1 GiB of a large one."""
_KEEP_FREE_MAX = 1 << 30


def check_space(path: Path, needed_bytes: int, free_bytes: int, disk_bytes: int) -> None:
    """``free_bytes``: of a disk of ``disk_bytes``. Raises CaptureFailed."""
    keep = min(disk_bytes // KEEP_FREE_SHARE, _KEEP_FREE_MAX)
    if free_bytes - needed_bytes < keep:
        raise CaptureFailed(
            f"no dump was written to {path.parent}",
            why=f"it needs {needed_bytes >> 20} MiB, {free_bytes >> 20} MiB are free, "
            f"{keep >> 20} MiB are reserved",
            remedy="free some space, take a smaller type, or set PERIMORTEM_DATA_DIR",
        )


def exists_error(path: Path) -> CaptureFailed:
    """A dump never replaces a file."""
    return CaptureFailed(
        f"cannot write {path}", why="it already exists", remedy="name another file with -o"
    )


def size_error(path: Path) -> CaptureFailed:
    """It is larger than the worker may write."""
    return CaptureFailed(
        f"cannot write {path}",
        why="the dump is larger than the limit set for it",
        remedy="take a smaller type",
    )


def write_error(path: Path, error: OSError) -> CaptureFailed:
    """By the system's error."""
    if error.errno == errno.EEXIST:
        return exists_error(path)
    if error.errno == errno.EFBIG:
        return size_error(path)
    return CaptureFailed(f"cannot write {path}", why=error.strerror or str(error))
