"""The store with its bounds, as the settings have them."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from perimortem.config.resolve import Resolved
from perimortem.monitor.incident_store import DatabaseStore
from perimortem.monitor.settings import Settings
from perimortem.store.database import Store
from perimortem.store.ledger import DumpLedger
from perimortem.store.retention import Limits

_MAX_USE_BYTES = 2 << 30
_MAX_USE_SHARE = 0.10
_KEEP_FREE_SHARE = 0.05


@contextmanager
def open_incident_store(settings: Settings, resolved: Resolved) -> Iterator[DatabaseStore]:
    """Raises StoreError."""
    with Store(settings.store_path) as store:
        limits = read_limits(resolved, settings.dumps_dir)
        yield DatabaseStore(store, DumpLedger(store, settings.dumps_dir, limits))


def read_limits(resolved: Resolved, dumps_dir: Path) -> Limits:
    """Shares are of the file system that the dumps lie on."""
    total = shutil.disk_usage(dumps_dir).total
    max_use, keep_free = resolved["max-use"], resolved["keep-free"]
    if max_use is None:
        max_use_bytes = min(_MAX_USE_BYTES, int(total * _MAX_USE_SHARE))
    else:
        max_use_bytes = max_use.of(total)
    keep_free_bytes = int(total * _KEEP_FREE_SHARE) if keep_free is None else keep_free.of(total)
    return Limits(max_use_bytes, keep_free_bytes, resolved["max-age"], resolved["dumps-per-hour"])
