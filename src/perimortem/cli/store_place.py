"""Where the settings have reports kept."""

from __future__ import annotations

from perimortem.cli.store_limits import read_limits
from perimortem.config.resolve import Resolved
from perimortem.monitor.settings import Settings
from perimortem.recorder import ensure_run_dir
from perimortem.store.paths import ensure_data_dir
from perimortem.store.place import StorePlace
from perimortem.store.spool import list_spools


def check_can_watch(settings: Settings) -> None:
    """Raises PerimortemError for what would limit a watch."""
    from perimortem.store.database import Store

    ensure_run_dir(settings.run_dir)
    ensure_data_dir(settings.data_dir)
    Store(settings.store_path).close()


def find_place(settings: Settings, resolved: Resolved) -> StorePlace:
    """Nothing is opened or created here: a store that cannot be used keeps no program from running."""
    return StorePlace(
        settings.store_path,
        list_spools(settings.data_dir, settings.run_dir),
        settings.dumps_dir,
        read_limits(resolved, settings.dumps_dir),
    )
