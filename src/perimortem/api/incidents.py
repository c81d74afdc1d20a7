"""Read the incident store."""

from __future__ import annotations

import os
import warnings
from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from perimortem.config.data_dir import find_configured_data_dir
from perimortem.errors import PerimortemError, StoreError
from perimortem.store.database import Store
from perimortem.store.paths import ensure_data_dir
from perimortem.store.spool import SPOOL, Spool
from perimortem.store.unspool import unspool

if TYPE_CHECKING:
    from perimortem.documents.report import Report


def incidents(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    pid: int | None = None,
    name: str | None = None,
    with_clean: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
    redact: bool = True,
) -> Iterator[Report]:
    """The incidents that are stored, the newest last, as ``perimortem list`` has them.

    ``since``, ``until``: bounds of their ends (naive times are local); ``with_clean``: also clean exits;
    ``data_dir``: None for the user's own; ``redact``: without secrets, also those that were kept
    (``redact = false``). Raises PerimortemError when the store cannot be read; a report that a newer
    version wrote is left out, with a warning.

    >>> [report.id for report in perimortem.incidents(name="server")]
    [17, 18]
    """
    with open_store(data_dir) as store:
        rows = store.list_incidents(
            since=_format(since),
            until=_format(until),
            pid=pid,
            name=name,
            with_clean=with_clean,
        )
        for row in rows:
            try:
                report = store.find(row.number)
            except StoreError as error:
                warnings.warn(str(error), stacklevel=2)
                continue
            if report is not None:  # else another process has removed it meanwhile
                yield _redact(report) if redact else report


def incident(
    number: int | None = None,
    *,
    data_dir: str | os.PathLike[str] | None = None,
    redact: bool = True,
) -> Report:
    """The incident with that number, as ``perimortem show`` has it; None: the newest.

    The newest is one that did not end cleanly, if there is any. ``redact``: without secrets, also those
    that were kept (``redact = false``). Raises PerimortemError when there is no such incident, or the
    store cannot be read.

    >>> perimortem.incident(17).exit.text
    'ended by SIGSEGV (segmentation fault)'
    """
    with open_store(data_dir) as store:
        if number is None:
            newest = store.list_incidents(limit=1) or store.list_incidents(with_clean=True, limit=1)
            if not newest:
                raise PerimortemError(
                    "there are no incidents yet", remedy="perimortem run -- ./your-program"
                )
            number = newest[-1].number
        report = store.find(number)
    if report is None:
        raise PerimortemError(f"there is no incident {number}", remedy="perimortem list --all")
    return _redact(report) if redact else report


def open_store(data_dir: str | os.PathLike[str] | None = None) -> Store:
    """The store in ``data_dir``, or in the configured directory; created if missing.

    Raises StoreError."""
    directory = find_configured_data_dir() if data_dir is None else ensure_data_dir(Path(data_dir))
    store = Store(directory / "incidents.db")
    with suppress(StoreError):
        for _ in unspool(Spool(directory / SPOOL), lambda: store):
            continue
    return store


def _redact(report: Report) -> Report:
    from perimortem.report.redact import redact_document

    return redact_document(report)


def _format(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
