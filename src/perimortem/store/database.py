"""The incident store. Schema changes are numbered SQL files in ``migrations``, applied in order."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path
from time import monotonic, sleep, time
from typing import TYPE_CHECKING, Any, Self

from perimortem.errors import MalformedInput, StoreError
from perimortem.store.stored_report import StoredReport, prepare_report

if TYPE_CHECKING:
    from perimortem.documents.report import Report

_BUSY_TIMEOUT_S = 5.0
_RETRY_S = 0.005
_HOUR_S = 3600.0
_EVICTED_AT_ONCE = 100
_PAUSES_KEPT = 1000
INCIDENTS_MAX = 20_000
"""Some 10 KiB each; for a service that crashes every second, the last six hours. Arbitrary."""


Ask = Callable[[str, tuple[Any, ...]], list[tuple[Any, ...]]]
"""One statement and its values; returns the rows."""


@dataclass(frozen=True)
class Stored:
    """What became of a report."""

    number: int
    """Of its incident; or of the one that it is counted with."""
    is_whole: bool = True
    """False: it is only counted."""


@dataclass(frozen=True)
class IncidentRow:
    """One line of ``list``."""

    number: int
    verdict: str
    name: str
    pid: int | None
    started_at: str
    ended_at: str
    has_dump: bool
    repeats: int
    """Further incidents of the program, which were only counted."""


@dataclass(frozen=True)
class LoopPause:
    """A time in which a monitor noticed nothing and answered no one."""

    noted_at: float
    """Seconds since the epoch."""
    command: str
    """run, watch, monitor."""
    pause_s: float
    waited_s: float
    """In addition, for a processor."""


class Store:
    """Open it, add incidents, query them. Many processes may use one store at once."""

    def __init__(self, path: Path, *, patience_s: float = _BUSY_TIMEOUT_S) -> None:
        """``path``: the database file; ``patience_s``: how long to wait for other processes that write.

        Raises :class:`StoreError`."""
        self.path = path
        self._patience_s = patience_s
        try:
            self._connection = sqlite3.connect(path, timeout=patience_s)
            path.chmod(0o600)
            self._enter_wal()
            self._migrate()
            self._identity = _identify(path)
            self._log_path = path.with_name(path.name + "-wal")
            self._log_identity = _identify(self._log_path)
        except (sqlite3.Error, OSError) as error:
            raise self._error("open", error) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self._connection.close()

    @property
    def is_in_place(self) -> bool:
        """Neither its file nor its log was removed or replaced: what is written would still be found.

        If it is closed then, what its log has is still written to the file."""
        if self._log_identity is None:
            self._log_identity = _identify(self._log_path)
        is_log_in_place = _identify(self._log_path) == self._log_identity
        is_file_in_place = self._identity is not None and _identify(self.path) == self._identity
        return is_file_in_place and is_log_in_place

    def add(self, report: Report, *, only_newer: bool = False) -> int:
        """Store a report; returns its number. See :meth:`add_all`. Raises :class:`StoreError`."""
        return self.add_all([prepare_report(report)], only_newer=only_newer)[0].number

    def add_all(
        self,
        reports: Sequence[StoredReport],
        *,
        only_newer: bool = False,
        per_hour: int = INCIDENTS_MAX,
    ) -> list[Stored]:
        """Store reports in one transaction, all of them or none.

        A report with the same uid is replaced, and keeps its number; with ``only_newer`` only by one
        whose verdict is not older. Of each program ``per_hour`` are stored; further ones are counted
        with its last. Raises :class:`StoreError`."""
        with self.transaction() as ask:
            return [_add(ask, report, only_newer, per_hour) for report in reports]

    def find_number(self, uid: str, *, with_end: bool) -> int | None:
        """The number of the incident with that uid; ``with_end``: if its program has ended.

        Raises :class:`StoreError`."""
        ended = "AND json_extract(report, '$.ended_at') IS NOT NULL" if with_end else ""
        rows = self._query(f"SELECT id FROM incident WHERE uid = ? {ended}", (uid,))
        return int(rows[0][0]) if rows else None

    @contextmanager
    def transaction(self, *, is_durable: bool = True) -> Iterator[Ask]:
        """No other process writes meanwhile; stores all of it or nothing. Raises :class:`StoreError`.

        ``is_durable``: synced to the disk, so that it survives a power cut."""
        try:
            self._connection.execute(f"PRAGMA synchronous = {'FULL' if is_durable else 'NORMAL'}")
            self._connection.execute("BEGIN IMMEDIATE")
            try:
                yield lambda sql, values: self._connection.execute(sql, values).fetchall()
                self._connection.commit()
            except BaseException:
                self._connection.rollback()
                raise
        except (sqlite3.Error, OSError, ValueError, KeyError, TypeError, RecursionError) as error:
            raise self._error("write", error) from error

    def note_pause(self, command: str, pause_s: float, waited_s: float) -> None:
        """The longest pause of a monitor's loop. Raises :class:`StoreError`."""
        with self.transaction(is_durable=False) as ask:
            ask(
                "INSERT INTO loop_pause (noted_at, command, pause_s, waited_s) VALUES (?, ?, ?, ?)",
                (time(), command, pause_s, waited_s),
            )
            ask(
                "DELETE FROM loop_pause WHERE id <= (SELECT max(id) FROM loop_pause) - ?",
                (_PAUSES_KEPT,),
            )

    def find_longest_pause(self, since: float) -> LoopPause | None:
        """``since``: seconds since the epoch. Raises :class:`StoreError`."""
        rows = self._query(
            "SELECT noted_at, command, pause_s, waited_s FROM loop_pause WHERE noted_at >= ? "
            "ORDER BY pause_s DESC LIMIT 1",
            (since,),
        )
        return LoopPause(*rows[0]) if rows else None

    def compact(self) -> None:
        """Release the space of deleted rows. Raises :class:`StoreError`."""
        self._query("VACUUM", ())

    def size_bytes(self) -> int:
        """Of the database."""
        ((pages, size),) = self._query(
            "SELECT page_count, page_size FROM pragma_page_count, pragma_page_size", ()
        )
        return int(pages) * int(size)

    def find(self, number: int) -> Report | None:
        """The report with that number. Raises :class:`StoreError`, also if a newer version wrote it."""
        row = self._query("SELECT report, repeats FROM incident WHERE id = ?", (number,))
        try:
            return _decode(row[0][0], row[0][1], number) if row else None
        except MalformedInput as error:
            raise StoreError(
                f"incident {number} cannot be read", why=error.why, remedy=error.remedy
            ) from error

    def list_incidents(
        self,
        *,
        since: str | None = None,
        until: str | None = None,
        pid: int | None = None,
        name: str | None = None,
        with_clean: bool = False,
        limit: int = 1000,
    ) -> list[IncidentRow]:
        """Newest last. Times are RFC 3339 in UTC, compared with the end of the incident."""
        conditions, values = ["1"], []
        for condition, value in (
            ("ended_at >= ?", since),
            ("ended_at <= ?", until),
            ("pid = ?", pid),
            ("name = ?", name),
        ):
            if value is not None:
                conditions.append(condition)
                values.append(value)
        if not with_clean:
            conditions.append("verdict != 'clean-exit'")
        rows = self._query(
            "SELECT id, verdict, name, pid, started_at, ended_at, has_dump, repeats FROM incident "
            f"WHERE {' AND '.join(conditions)} ORDER BY id DESC LIMIT ?",
            (*values, limit),
        )
        return [
            IncidentRow(number, verdict, name, pid, started, ended, bool(has_dump), repeats)
            for number, verdict, name, pid, started, ended, has_dump, repeats in reversed(rows)
        ]

    def _query(self, sql: str, values: tuple[Any, ...]) -> list[tuple[Any, ...]]:
        try:
            with closing(self._connection.execute(sql, values)) as cursor:
                return cursor.fetchall()
        except sqlite3.Error as error:
            raise self._error("read", error) from error

    def _enter_wal(self) -> None:
        """If two processes change a new file at once, SQLite refuses one without its busy timeout."""
        deadline = monotonic() + self._patience_s
        while True:
            try:
                self._connection.execute("PRAGMA journal_mode = WAL")
                return
            except sqlite3.OperationalError as error:
                if error.sqlite_errorcode != sqlite3.SQLITE_BUSY or monotonic() > deadline:
                    raise
                sleep(_RETRY_S)

    def _migrate(self) -> None:
        (current,) = self._connection.execute("PRAGMA user_version").fetchone()
        files = sorted(
            (
                file
                for file in resources.files("perimortem.store").joinpath("migrations").iterdir()
                if file.name.endswith(".sql")
            ),
            key=lambda file: file.name,
        )
        newest = int(files[-1].name[:4])
        if current > newest:
            raise StoreError(
                f"the store {self.path} was written by a newer perimortem",
                why=f"its schema is {current}, this version knows {newest}",
                remedy="update perimortem, or set PERIMORTEM_DATA_DIR",
            )
        if current < newest:
            with self.transaction() as ask:
                # Another process may have done it while we waited for our turn.
                ((current,),) = ask("PRAGMA user_version", ())
                for file in files:
                    number = int(file.name[:4])
                    for statement in _split(file.read_text(encoding="utf-8")):
                        if number > current:
                            ask(statement, ())
                ask(f"PRAGMA user_version = {newest}", ())

    def _error(self, verb: str, error: Exception) -> StoreError:
        if isinstance(error, StoreError):
            return error
        return StoreError(
            f"cannot {verb} the incident store {self.path}",
            why=str(error),
            remedy="set PERIMORTEM_DATA_DIR to another directory, or move the file away",
        )


def _split(script: str) -> list[str]:
    """The statements of a migration; none of them holds a semicolon."""
    lines = [line.split("--")[0] for line in script.splitlines()]
    return [part.strip() for part in "\n".join(lines).split(";") if part.strip()]


def _identify(path: Path) -> tuple[int, int] | None:
    """The file of that name; None if there is none."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return facts.st_dev, facts.st_ino


def _add(ask: Ask, report: StoredReport, only_newer: bool, per_hour: int) -> Stored:
    known = ask(
        "SELECT id, json_extract(report, '$.verdict_at') FROM incident WHERE uid = ?",
        (report.uid,),
    )
    values = (
        report.verdict,
        report.name,
        report.pid,
        report.started_at,
        report.ended_at,
        int(bool(report.dump_paths)),
        report.text,
        report.uid,
    )
    if known:
        number, verdict_at = int(known[0][0]), known[0][1]
        if not only_newer or verdict_at <= report.verdict_at:
            ask(
                "UPDATE incident SET verdict = ?, name = ?, pid = ?, started_at = ?, ended_at = ?, "
                "has_dump = ?, report = ? WHERE uid = ?",
                values,
            )
            _link_dumps(ask, number, report)
        return Stored(number)
    now_s = time()
    counted = _count(ask, report, per_hour, now_s)
    if counted is not None:
        return Stored(counted, is_whole=False)
    ask(
        "INSERT INTO incident (verdict, name, pid, started_at, ended_at, has_dump, report, uid, "
        "program, stored_at) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        (*values, report.program, now_s),
    )
    number = int(ask("SELECT last_insert_rowid()", ())[0][0])
    _link_dumps(ask, number, report)
    if number % _EVICTED_AT_ONCE == 0:
        _evict(ask)
    return Stored(number)


def _count(ask: Ask, report: StoredReport, per_hour: int, now_s: float) -> int | None:
    """The incident that it is counted with, if its program had too many within the hour."""
    ((already,),) = ask("SELECT max(incident) FROM counted WHERE uid = ?", (report.uid,))
    if already is not None:
        return int(already)
    ((count, last),) = ask(
        "SELECT count(*), max(id) FROM incident WHERE program = ? AND stored_at > ?",
        (report.program, now_s - _HOUR_S),
    )
    if count < per_hour:
        return None
    if report.uid is not None:
        ask("INSERT INTO counted VALUES (?, ?, ?)", (report.uid, last, now_s))
        ask("DELETE FROM counted WHERE stored_at < ?", (now_s - _HOUR_S,))
    ask("UPDATE incident SET repeats = repeats + 1 WHERE id = ?", (last,))
    return int(last)


def _evict(ask: Ask) -> None:
    """The oldest of the program that has most: others keep theirs."""
    while ask("SELECT count(*) FROM incident", ())[0][0] > INCIDENTS_MAX - _EVICTED_AT_ONCE:
        ((program, _),) = ask(
            "SELECT program, count(*) AS count FROM incident GROUP BY program "
            "ORDER BY count DESC LIMIT 1",
            (),
        )
        ask(
            "DELETE FROM incident WHERE id IN "
            "(SELECT id FROM incident WHERE program IS ? ORDER BY id LIMIT ?)",
            (program, _EVICTED_AT_ONCE),
        )


def _link_dumps(ask: Ask, number: int, report: StoredReport) -> None:
    """When one of them is removed, its incident says so."""
    for path in report.dump_paths:
        ask("UPDATE dump SET incident = ? WHERE path = ?", (number, path))


# The types of a report take some time to load, and most commands need none.


def _decode(text: str, repeats: int, number: int) -> Report:
    import msgspec

    from perimortem.report.upgrade import read_report

    report = msgspec.structs.replace(read_report(text), id=number)
    if not repeats:
        return report
    verb = "is" if repeats == 1 else "are"
    note = f"{repeats:,} more of this program {verb} counted with it (setting incidents-per-hour)"
    return msgspec.structs.replace(report, soft_errors=[*report.soft_errors, note])
