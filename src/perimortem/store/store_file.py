"""A store that may be locked, damaged or removed at any time, and comes back."""

from __future__ import annotations

from pathlib import Path

from perimortem.store.database import Store
from perimortem.store.paths import ensure_data_dir

_PATIENCE_S = 0.1
"""The loop waits: what another process holds for longer goes to the spool. Arbitrary."""


class StoreFile:
    """Opened when it is needed, and again after its file was removed or replaced."""

    def __init__(self, path: Path, patience_s: float = _PATIENCE_S) -> None:
        self._path = path
        self._patience_s = patience_s
        self._store: Store | None = None

    def open(self) -> Store:
        """The store, as it is now. Raises StoreError."""
        if self._store is not None and not self._store.is_in_place:
            self.close()
        if self._store is None:
            ensure_data_dir(self._path.parent)  # the whole directory may have been removed
            self._store = Store(self._path, patience_s=self._patience_s)
        return self._store

    def close(self) -> None:
        if self._store is not None:
            self._store.close()
            self._store = None
