"""The limits of the store: what the settings say, or what suits the disk."""

from __future__ import annotations

import shutil
from pathlib import Path

from perimortem.config.resolve import Resolved
from perimortem.store.retention import Limits

_MAX_USE_BYTES = 2 << 30
_MAX_USE_SHARE = 0.10
_KEEP_FREE_SHARE = 0.05


def read_limits(resolved: Resolved, dumps_dir: Path) -> Limits:
    """Shares are of the file system that the dumps lie on."""
    total = shutil.disk_usage(_find_existing(dumps_dir)).total
    max_use, keep_free = resolved["max-use"], resolved["keep-free"]
    default_use_bytes, default_free_bytes = find_default_limits(dumps_dir)
    return Limits(
        default_use_bytes if max_use is None else max_use.of(total),
        default_free_bytes if keep_free is None else keep_free.of(total),
        resolved["max-age"],
        resolved["dumps-per-hour"],
        max(1, resolved["incidents-per-hour"]),
    )


def find_default_limits(directory: Path) -> tuple[int, int]:
    """max-use and keep-free where neither is set, in bytes; ``directory`` need not exist yet."""
    total = shutil.disk_usage(_find_existing(directory)).total
    return min(_MAX_USE_BYTES, int(total * _MAX_USE_SHARE)), int(total * _KEEP_FREE_SHARE)


def _find_existing(directory: Path) -> Path:
    while not directory.exists() and directory != directory.parent:
        directory = directory.parent
    return directory
