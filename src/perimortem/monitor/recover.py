"""What earlier monitors left when they were killed."""

from __future__ import annotations

from collections.abc import Callable

from perimortem.model.incident import Incident
from perimortem.monitor.incident_store import DatabaseStore
from perimortem.monitor.settings import Settings
from perimortem.monitor.sweep import sweep, sweep_partials
from perimortem.monitor.unreported import report_unreported
from perimortem.proc import collect_host


def recover(
    settings: Settings,
    store: DatabaseStore,
    on_unreported: Callable[[Incident], None],
    on_unspooled: Callable[[list[int]], None],
    *,
    reports_own: bool = False,
) -> None:
    """Store what is in the spool, report the ends that they did not report, then remove their files.

    ``reports_own``: also those of programs that had no monitor."""
    numbers = store.bring_in()
    if numbers:
        on_unspooled(numbers)
    for incident in report_unreported(settings, store, collect_host(), reports_own=reports_own):
        on_unreported(incident)
    sweep(settings.run_dir)
    sweep_partials(settings.dumps_dir)
