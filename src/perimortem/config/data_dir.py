"""The data directory that the settings name."""

from __future__ import annotations

from pathlib import Path

from perimortem.config.resolve import Resolved, resolve
from perimortem.store.paths import ensure_data_dir, find_data_dir


def choose_data_dir(resolved: Resolved) -> Path:
    """It need not exist."""
    given = resolved["data-dir"]
    return Path(given) if given else find_data_dir()


def find_configured_data_dir(resolved: Resolved | None = None) -> Path:
    """Created if missing; raises StoreError if it cannot be created or written."""
    return ensure_data_dir(choose_data_dir(resolved or resolve({})))
