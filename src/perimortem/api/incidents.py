"""Ask the incident store."""

from __future__ import annotations

import os
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from perimortem.config.resolve import resolve
from perimortem.documents.report import Report
from perimortem.store.database import Store
from perimortem.store.paths import find_data_dir


def incidents(
    *,
    since: datetime | None = None,
    until: datetime | None = None,
    pid: int | None = None,
    name: str | None = None,
    with_clean: bool = False,
    data_dir: str | os.PathLike[str] | None = None,
) -> Iterator[Report]:
    """The incidents that are stored, the newest last, as ``perimortem list`` has them.

    ``since``, ``until``: bounds of their ends (naive times are local); ``with_clean``: also clean exits;
    ``data_dir``: None for the user's own. Raises PerimortemError when the store cannot be read.

    >>> [report.id for report in perimortem.incidents(name="server")]
    [17, 18]
    """
    given = data_dir or resolve({})["data-dir"]
    directory = Path(given) if given else find_data_dir()
    with Store(directory / "incidents.db") as store:
        rows = store.list_incidents(
            since=_format(since),
            until=_format(until),
            pid=pid,
            name=name,
            with_clean=with_clean,
        )
        for row in rows:
            report = store.find(row.number)
            if report is not None:  # else another process has removed it meanwhile
                yield report


def _format(moment: datetime | None) -> str | None:
    if moment is None:
        return None
    return moment.astimezone(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
