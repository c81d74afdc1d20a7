"""The store, with the limits from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from perimortem.cli.store_limits import read_limits
from perimortem.config.resolve import Resolved
from perimortem.monitor.incident_store import DatabaseStore
from perimortem.monitor.settings import Settings
from perimortem.store.database import Store
from perimortem.store.ledger import DumpLedger


@contextmanager
def open_incident_store(settings: Settings, resolved: Resolved) -> Iterator[DatabaseStore]:
    """Raises StoreError."""
    with Store(settings.store_path) as store:
        limits = read_limits(resolved, settings.dumps_dir)
        yield DatabaseStore(store, DumpLedger(store, settings.dumps_dir, limits))
