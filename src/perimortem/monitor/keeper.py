"""Keep incidents in the store as they come: a hang at once, so that nothing is lost with us."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace

from perimortem.clock import format_rfc3339
from perimortem.errors import StoreError
from perimortem.model.dump import DumpResult
from perimortem.model.incident import Incident
from perimortem.monitor.session import Session
from perimortem.report.document import render_document
from perimortem.store.database import Store
from perimortem.store.ledger import DumpLedger, Refusal, Reservation

_START_JITTER_NS = 1_000_000_000
"""The start of a process is known by ticks, and by two clocks."""


class Keeper:
    """Writes incidents; a store that fails is said once, and the account still comes."""

    def __init__(self, store: Store, ledger: DumpLedger) -> None:
        self._store = store
        self._ledger = ledger

    def keep(self, session: Session, incident: Incident) -> Incident:
        """Add or replace the incident of a session; returns it with its number."""
        try:
            if session.number is None:
                session.number = self._store.add(render_document(incident))
                return replace(incident, number=session.number)
            numbered = replace(incident, number=session.number)
            self._store.replace(session.number, render_document(numbered))
        except StoreError as error:
            if str(error) not in session.soft_errors:
                session.soft_errors.append(str(error))
            soft_errors = dict.fromkeys((*incident.soft_errors, str(error)))
            return replace(incident, soft_errors=tuple(soft_errors))
        return numbered

    def reserve_dump(
        self, signature: str, expected_bytes: int, *, may_grow: bool = False
    ) -> Reservation | Refusal:
        """Leave for a dump of about so many bytes; ``may_grow``: or of as many as there is room for."""
        try:
            return self._ledger.reserve(signature, expected_bytes, may_grow=may_grow)
        except StoreError as error:
            return Refusal(str(error))

    def settle_dump(self, session: Session, reservation: Reservation, result: DumpResult) -> None:
        """What came of it."""
        with suppress(StoreError):
            self._ledger.settle(reservation, result.path, result.size_bytes, session.number)

    def forget_dump(self, reservation: Reservation) -> None:
        """It was not wanted after all."""
        with suppress(StoreError):
            self._ledger.forget(reservation)

    def keep_restored(self, session: Session, incident: Incident) -> Incident:
        """In the place of what another monitor kept of it, before that was killed."""
        since, until = (
            format_rfc3339(incident.started_at_ns + delta_ns)
            for delta_ns in (-_START_JITTER_NS, _START_JITTER_NS)
        )
        with suppress(StoreError):
            session.number = self._store.find_unfinished(session.pid, since, until)
        return self.keep(session, incident)

    def keep_launch_failure(self, incident: Incident) -> Incident:
        """The incident of a program that never ran."""
        try:
            return replace(incident, number=self._store.add(render_document(incident)))
        except StoreError as error:
            return replace(incident, soft_errors=(*incident.soft_errors, str(error)))
