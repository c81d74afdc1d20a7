"""Bring the reports of the spool into the store."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from perimortem.errors import MalformedInput
from perimortem.store.database import Store
from perimortem.store.spool import Entry, Spool
from perimortem.store.stored_report import StoredReport, prepare_report

_AT_ONCE = 100
"""In one commit. Arbitrary."""


def unspool(spool: Spool, open_store: Callable[[], Store]) -> Iterator[list[int]]:
    """Each is removed once the store has it; yields their numbers, some at a time.

    Raises StoreError: the rest stays. Two processes may do so at once, and one may be killed at any
    point: the store knows a report by its uid, so that none gets in twice.
    """
    waiting = spool.list_entries()
    for first in range(0, len(waiting), _AT_ONCE):
        entries = waiting[first : first + _AT_ONCE]
        readable = [(entry, report) for entry in entries if (report := _read(spool, entry))]
        stored = open_store().add_all([report for _, report in readable], only_newer=True)
        for entry, _ in readable:
            spool.remove(entry)
        yield [one.number for one in stored]


def _read(spool: Spool, entry: Entry) -> StoredReport | None:
    """With the types of a report, which mostly are not needed."""
    from perimortem.report.upgrade import read_report

    try:
        return prepare_report(read_report(entry.text))
    except MalformedInput:
        spool.set_aside(entry)
        return None
