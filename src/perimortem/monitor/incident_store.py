"""Record incidents as they happen: a hang at once, so that it survives the monitor's death."""

from __future__ import annotations

import shutil
from contextlib import suppress
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from perimortem.documents.base import encode
from perimortem.errors import StoreError
from perimortem.model.dump import DumpResult
from perimortem.model.incident import Incident
from perimortem.monitor.target import Target
from perimortem.report.document import render_document
from perimortem.store.ledger import LEAST_BYTES, DumpLedger, Refusal, Reservation
from perimortem.store.retention import Limits
from perimortem.store.spool import Spool
from perimortem.store.store_file import StoreFile
from perimortem.store.unspool import unspool

if TYPE_CHECKING:
    from perimortem.documents.report import Report

_UNCOUNTED = 0
"""The number of a reservation that no ledger has."""
_UNCOUNTED_MAX = 8
"""By one monitor. Arbitrary."""


class IncidentStore(Protocol):
    """What a watch needs from the store."""

    def record(self, target: Target, incident: Incident) -> Incident:
        """Add the incident of a target, or replace it by a fuller one; returns it with its number."""

    def reserve_dump(
        self, signature: str, expected_bytes: int, *, may_grow: bool = False
    ) -> Reservation | Refusal:
        """Reserve room for a dump of about ``expected_bytes``; ``may_grow``: all there is room for."""

    def settle_dump(self, target: Target, reservation: Reservation, result: DumpResult) -> None:
        """The reserved dump has been written, or will not be."""

    def forget_dump(self, reservation: Reservation) -> None:
        """Withdraws the reservation: the dump is not needed."""


class NoStore:
    """Records nothing and allows every dump: for benchmarks and tests."""

    def record(self, target: Target, incident: Incident) -> Incident:
        return incident

    def reserve_dump(
        self, signature: str, expected_bytes: int, *, may_grow: bool = False
    ) -> Reservation | Refusal:
        return Reservation(0, 1 << 40)

    def settle_dump(self, target: Target, reservation: Reservation, result: DumpResult) -> None:
        return

    def forget_dump(self, reservation: Reservation) -> None:
        return


class DatabaseStore:
    """Writes to the database, and to the spool while the database cannot be written."""

    def __init__(self, file: StoreFile, spool: Spool, dumps_dir: Path, limits: Limits) -> None:
        self._file = file
        self._spool = spool
        self._dumps_dir = dumps_dir
        self._limits = limits
        self._spooled: set[str] = set()
        self._uncounted = 0
        """Dumps allowed while there was no ledger."""

    def record(self, target: Target, incident: Incident) -> Incident:
        kept, is_kept = self._keep(incident)
        if kept.number is not None:
            target.set_number(kept.number)
        target.set_kept(is_kept)
        return kept

    def record_launch_failure(self, incident: Incident) -> Incident:
        """The incident of a program that never ran."""
        return self._keep(incident)[0]

    def bring_in(self) -> list[int]:
        """The numbers of the incidents that were in the spool and are in the store now."""
        try:
            return unspool(self._spool, self._file.open())
        except StoreError:
            return []  # the next start tries again

    def reserve_dump(
        self, signature: str, expected_bytes: int, *, may_grow: bool = False
    ) -> Reservation | Refusal:
        try:
            return self._open_ledger().reserve(signature, expected_bytes, may_grow=may_grow)
        except StoreError as error:
            return self._reserve_uncounted(expected_bytes, error)

    def settle_dump(self, target: Target, reservation: Reservation, result: DumpResult) -> None:
        if reservation.number != _UNCOUNTED:
            with suppress(StoreError):
                ledger = self._open_ledger()
                ledger.settle(reservation, result.path, result.size_bytes, target.number)

    def forget_dump(self, reservation: Reservation) -> None:
        if reservation.number != _UNCOUNTED:
            with suppress(StoreError):
                self._open_ledger().forget(reservation)

    def _open_ledger(self) -> DumpLedger:
        return DumpLedger(self._file.open(), self._dumps_dir, self._limits)

    def _keep(self, incident: Incident) -> tuple[Incident, bool]:
        """In the store, else in the spool; False: nowhere. The incident says so."""
        assert incident.uid is not None
        document = render_document(incident)
        try:
            number = self._file.open().add(document)
        except StoreError as error:
            note, is_kept = self._keep_in_spool(incident.uid, document, error)
            soft_errors = tuple(dict.fromkeys((*incident.soft_errors, note)))
            return replace(incident, soft_errors=soft_errors), is_kept
        if incident.uid in self._spooled:
            self._spool.discard(incident.uid)
            self._spooled.discard(incident.uid)
        return replace(incident, number=number), True

    def _keep_in_spool(self, uid: str, document: Report, error: StoreError) -> tuple[str, bool]:
        try:
            path = self._spool.put(uid, encode(document))
        except StoreError as second:
            return f"this report is kept nowhere: {error}; {second}", False
        self._spooled.add(uid)
        return (
            f"{error.what} ({error.why}): this report is kept in {path} until the next start",
            True,
        )

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
