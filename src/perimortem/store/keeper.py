"""Keep reports and the ledger of dumps: in the database, and in the spool while it cannot be written."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Sequence
from contextlib import suppress

from perimortem.errors import StoreError
from perimortem.store.answers import Kept, Refusal, Reservation
from perimortem.store.database import Stored
from perimortem.store.ledger import LEAST_BYTES, DumpLedger
from perimortem.store.paths import ensure_data_dir
from perimortem.store.place import StorePlace
from perimortem.store.spool import Spool
from perimortem.store.store_file import StoreFile
from perimortem.store.stored_report import StoredReport
from perimortem.store.unspool import unspool

_UNCOUNTED = 0
"""The number of a reservation that no ledger has."""
_UNCOUNTED_MAX = 8
"""By one keeper. Arbitrary."""


class Keeper:
    """One writer. It waits for others that write for 0.1 s, and for the disk as long as that takes."""

    def __init__(self, place: StorePlace) -> None:
        self._file = StoreFile(place.path)
        self._spool = Spool(*place.spools)
        self._dumps_dir = place.dumps_dir
        self._limits = place.limits
        self._spooled: set[str] = set()
        self._is_writable = False
        self._uncounted = 0
        """Dumps allowed while there was no ledger."""

    def keep(self, reports: Sequence[StoredReport]) -> list[Kept]:
        """In the store, all with one commit; else each in the spool; else nowhere."""
        try:
            stored = self._file.open().add_all(reports, per_hour=self._limits.incidents_per_hour)
        except StoreError as error:
            self._is_writable = False
            return [self._keep_in_spool(report, error) for report in reports]
        self._is_writable = True
        for report in reports:
            if report.uid in self._spooled:
                self._spool.discard(report.uid)
                self._spooled.discard(report.uid)
        return [_describe(one, self._limits.incidents_per_hour) for one in stored]

    def keep_unfinished(self, report: StoredReport) -> Kept:
        """The same for one that knows less than the store may have: what has its end is not replaced."""
        with suppress(StoreError):
            number = self._file.open().find_number(report.uid or "", with_end=True)
            if number is not None:
                return Kept(number)
        return self.keep([report])[0]

    def bring_in(self) -> Iterator[list[int]]:
        """The numbers of incidents that were in the spool and are in the store now, some at a time."""
        try:
            yield from unspool(self._spool, self._file.open)
        except StoreError:
            self._is_writable = False
            return  # tried again after the next success, or by the next start
        self._spooled.clear()

    @property
    def may_bring_in(self) -> bool:
        """Reports of ours are in the spool, and the store can be written again."""
        return bool(self._spooled) and self._is_writable

    def reserve(
        self, signature: str, expected_bytes: int, *, may_grow: bool
    ) -> Reservation | Refusal:
        """Room for a dump; see :meth:`DumpLedger.reserve`."""
        try:
            return self._open_ledger().reserve(signature, expected_bytes, may_grow=may_grow)
        except StoreError as error:
            return self._reserve_uncounted(expected_bytes, error)

    def settle(
        self, reservation: Reservation, path: str | None, size_bytes: int, uid: str | None
    ) -> None:
        """The reserved dump has been written, or will not be; ``uid``: of its incident."""
        if reservation.number != _UNCOUNTED:
            with suppress(StoreError):
                self._open_ledger().settle(reservation, path, size_bytes, uid)

    def forget(self, reservation: Reservation) -> None:
        """Withdraws the reservation: the dump is not needed."""
        if reservation.number != _UNCOUNTED:
            with suppress(StoreError):
                self._open_ledger().forget(reservation)

    def note_pause(self, command: str, pause_ns: int, waited_ns: int) -> None:
        """Of the monitor's loop. While the store cannot be written it is not noted."""
        with suppress(StoreError):
            self._file.open().note_pause(command, pause_ns / 1e9, waited_ns / 1e9)

    def close(self) -> None:
        self._file.close()

    def _open_ledger(self) -> DumpLedger:
        store = self._file.open()
        if not self._dumps_dir.exists():
            ensure_data_dir(self._dumps_dir.parent)
        return DumpLedger(store, self._dumps_dir, self._limits)

    def _keep_in_spool(self, report: StoredReport, error: StoreError) -> Kept:
        if report.uid is None:
            return Kept(None, f"this report is kept nowhere: {error}", is_kept=False)
        try:
            path = self._spool.put(report.uid, report.text)
        except StoreError as second:
            return Kept(None, f"this report is kept nowhere: {error}; {second}", is_kept=False)
        self._spooled.add(report.uid)
        note = f"{error.what} ({error.why}): this report is kept in {path} until the store takes it"
        return Kept(None, note)

    def _reserve_uncounted(self, expected_bytes: int, error: StoreError) -> Reservation | Refusal:
        """A report in the spool has its dump, too; a storm of crashes does not fill the disk."""
        if self._uncounted >= _UNCOUNTED_MAX:
            return Refusal(f"{error}; {_UNCOUNTED_MAX} dumps were kept without it")
        try:
            free_bytes = shutil.disk_usage(self._dumps_dir).free - self._limits.keep_free_bytes
        except OSError as disk_error:
            return Refusal(f"{self._dumps_dir}: {disk_error.strerror}")
        if free_bytes < min(expected_bytes, LEAST_BYTES):
            return Refusal("the disk is full (keep-free)")
        self._uncounted += 1
        return Reservation(_UNCOUNTED, min(free_bytes, self._limits.max_use_bytes))


def _describe(stored: Stored, per_hour: int) -> Kept:
    if stored.is_whole:
        return Kept(stored.number)
    return Kept(
        None,
        f"its program had {per_hour} incidents within the hour: this one is counted with incident "
        f"{stored.number} (setting incidents-per-hour)",
    )
