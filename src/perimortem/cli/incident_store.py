"""The store, with the limits from the settings."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from perimortem.cli.store_limits import read_limits
from perimortem.config.resolve import Resolved
from perimortem.monitor.incident_store import DatabaseStore
from perimortem.monitor.settings import Settings
from perimortem.recorder import ensure_run_dir
from perimortem.store.database import Store
from perimortem.store.paths import ensure_data_dir
from perimortem.store.spool import Spool, list_spools
from perimortem.store.store_file import StoreFile


def check_can_watch(settings: Settings) -> None:
    """Raises PerimortemError for what would limit a watch."""
    ensure_run_dir(settings.run_dir)
    ensure_data_dir(settings.data_dir)
    Store(settings.store_path).close()


@contextmanager
def open_incident_store(settings: Settings, resolved: Resolved) -> Iterator[DatabaseStore]:
    """A store that cannot be opened keeps no program from being watched: see DatabaseStore."""
    file = StoreFile(settings.store_path)
    limits = read_limits(resolved, settings.dumps_dir)
    spool = Spool(*list_spools(settings.data_dir, settings.run_dir))
    try:
        yield DatabaseStore(file, spool, settings.dumps_dir, limits)
    finally:
        file.close()
