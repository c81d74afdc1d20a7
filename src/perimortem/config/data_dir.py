"""The data directory that the settings name."""

from __future__ import annotations

from pathlib import Path

from perimortem.config.resolve import Resolved, resolve
from perimortem.store.paths import ensure_data_dir, find_data_dir


def find_configured_data_dir(resolved: Resolved | None = None) -> Path:
    """Created if missing; raises StoreError if it cannot be created or written."""
    given = (resolved or resolve({}))["data-dir"]
    return ensure_data_dir(Path(given) if given else find_data_dir())
