"""Bring the reports of the spool into the store."""

from __future__ import annotations

from contextlib import suppress

from perimortem.errors import MalformedInput
from perimortem.store.database import Store
from perimortem.store.spool import Spool


def unspool(spool: Spool, store: Store) -> list[int]:
    """Each is removed once the store has it; returns their numbers. Raises StoreError: the rest stays.

    Two processes may do so at once, and one may be killed at any point: the store knows a report by its
    uid, so that none gets in twice.
    """
    entries = spool.list_entries()
    if not entries:
        return []
    from perimortem.report.upgrade import (
        read_report,
    )  # with the types of a report: mostly not needed

    numbers = []
    for entry in entries:
        try:
            report = read_report(entry.text)
        except MalformedInput:
            spool.set_aside(entry)
            continue
        numbers.append(store.add(report, only_newer=True))
        with suppress(OSError):
            entry.path.unlink(missing_ok=True)
    return numbers
