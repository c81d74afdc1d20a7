"""Record incidents as they happen: a hang at once, so that it survives the monitor's death."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Protocol

from perimortem.clock import format_rfc3339
from perimortem.errors import StoreError
from perimortem.model.dump import DumpResult
from perimortem.model.incident import Incident
from perimortem.monitor.target import Target
from perimortem.report.document import render_document
from perimortem.store.database import Store
from perimortem.store.ledger import DumpLedger, Refusal, Reservation

_START_JITTER_NS = 1_000_000_000
"""Process start times are counted in ticks, and converted by two clocks."""


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
    """Writes to the database; a failure is a soft error of the incident, which is still reported."""

    def __init__(self, store: Store, ledger: DumpLedger) -> None:
        self._store = store
        self._ledger = ledger

    def record(self, target: Target, incident: Incident) -> Incident:
        try:
            if target.number is None:
                target.set_number(self._store.add(render_document(incident)))
                return replace(incident, number=target.number)
            numbered = replace(incident, number=target.number)
            self._store.replace(target.number, render_document(numbered))
        except StoreError as error:
            target.note_soft_error(str(error))
            soft_errors = dict.fromkeys((*incident.soft_errors, str(error)))
            return replace(incident, soft_errors=tuple(soft_errors))
        return numbered

    def reserve_dump(
        self, signature: str, expected_bytes: int, *, may_grow: bool = False
    ) -> Reservation | Refusal:
        try:
            return self._ledger.reserve(signature, expected_bytes, may_grow=may_grow)
        except StoreError as error:
            return Refusal(str(error))

    def settle_dump(self, target: Target, reservation: Reservation, result: DumpResult) -> None:
        with suppress(StoreError):
            self._ledger.settle(reservation, result.path, result.size_bytes, target.number)

    def forget_dump(self, reservation: Reservation) -> None:
        with suppress(StoreError):
            self._ledger.forget(reservation)

    def record_recovered(self, target: Target, incident: Incident) -> Incident:
        """Replaces what another monitor recorded of it before being killed."""
        since, until = (
            format_rfc3339(incident.started_at_ns + delta_ns)
            for delta_ns in (-_START_JITTER_NS, _START_JITTER_NS)
        )
        with suppress(StoreError):
            number = self._store.find_unfinished(target.pid, since, until)
            if number is not None:
                target.set_number(number)
        return self.record(target, incident)

    def record_launch_failure(self, incident: Incident) -> Incident:
        """The incident of a program that never ran."""
        try:
            return replace(incident, number=self._store.add(render_document(incident)))
        except StoreError as error:
            return replace(incident, soft_errors=(*incident.soft_errors, str(error)))
