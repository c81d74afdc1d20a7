"""What earlier monitors left when they were killed."""

from __future__ import annotations

from collections.abc import Iterator

from perimortem.model.process import ProcessRef
from perimortem.monitor.recorder_list import list_recorders
from perimortem.monitor.settings import Settings
from perimortem.monitor.sweep import sweep_partials, sweep_run_dir
from perimortem.store.keeper import Keeper
from perimortem.store.requests import Unreported, Unspooled


def recover(
    settings: Settings, keeper: Keeper, monitor: ProcessRef, *, reports_own: bool
) -> Iterator[Unspooled | Unreported | None]:
    """Store what is in the spool, report the ends that they did not report, then remove their files.

    A step at a time, some without news (None): the caller has other work. ``monitor``: that this is for;
    ``reports_own``: also the ends of programs that had no monitor."""
    for numbers in keeper.bring_in():
        yield Unspooled(tuple(numbers))
    if list_recorders(settings.run_dir):
        from perimortem.monitor.unreported import report_unreported  # mostly not needed

        yield from report_unreported(settings, keeper, monitor, reports_own=reports_own)
        sweep_run_dir(settings.run_dir, monitor.pid)
    sweep_partials(settings.dumps_dir)
