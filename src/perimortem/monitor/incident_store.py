"""Record incidents as they happen: a hang at once, so that it survives the monitor's death."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Protocol

from perimortem.model.dump import DumpResult
from perimortem.model.incident import Incident
from perimortem.monitor.base import Base
from perimortem.monitor.listener import NewsListener
from perimortem.monitor.settings import WriterSettings
from perimortem.monitor.target import Target
from perimortem.monitor.writer_link import WriterLink
from perimortem.report.document import render_document
from perimortem.store.answers import Kept, Refusal, Reservation
from perimortem.store.place import StorePlace
from perimortem.store.requests import (
    Answer,
    Forget,
    Keep,
    News,
    NotePause,
    Recovered,
    Reserve,
    Settle,
    Unreported,
    Unspooled,
)
from perimortem.store.stored_report import prepare_report
from perimortem.system import Selector, Service, open_selector

_WRITER = "perimortem.monitor.writer"
_PATIENCE_S = 5.0
"""A report that is not written by then is shown without its number. Arbitrary."""
_RESERVE_PATIENCE_S = 5.0
"""A crashed process waits meanwhile. Arbitrary."""
_FINISH_PATIENCE_S = 15.0

TakeReservation = Callable[[Reservation | Refusal], None]


class IncidentStore(Protocol):
    """What a watch needs from the store. Nothing here waits."""

    def warm_up(self) -> None:
        """A report may come at any time from now on."""

    def pids(self) -> set[int]:
        """Our own processes that write."""

    def record(
        self, target: Target, incident: Incident, done: Callable[[], None] = lambda: None
    ) -> None:
        """Add the incident of a target, or replace it by a fuller one.

        ``done`` is called once, soon, when the target knows what became of it (``target.kept``)."""

    def reserve_dump(
        self, signature: str, expected_bytes: int, done: TakeReservation, *, may_grow: bool = False
    ) -> None:
        """Reserve room for a dump of about ``expected_bytes``; ``may_grow``: all there is room for."""

    def settle_dump(self, target: Target, reservation: Reservation, result: DumpResult) -> None:
        """The reserved dump has been written, or will not be."""

    def forget_dump(self, reservation: Reservation) -> None:
        """Withdraws the reservation: the dump is not needed."""

    def note_pause(self, pause: NotePause) -> None:
        """The longest pause of the loop since the last one was noted."""


class NoStore:
    """Records nothing and allows every dump: for benchmarks."""

    def warm_up(self) -> None:
        return

    def pids(self) -> set[int]:
        return set()

    def record(
        self, target: Target, incident: Incident, done: Callable[[], None] = lambda: None
    ) -> None:
        done()

    def reserve_dump(
        self, signature: str, expected_bytes: int, done: TakeReservation, *, may_grow: bool = False
    ) -> None:
        done(Reservation(0, 1 << 40))

    def settle_dump(self, target: Target, reservation: Reservation, result: DumpResult) -> None:
        return

    def forget_dump(self, reservation: Reservation) -> None:
        return

    def note_pause(self, pause: NotePause) -> None:
        return


class WrittenStore:
    """A separate process writes to the store, and to the spool while the store cannot be written."""

    def __init__(
        self,
        base: Base,
        settings: WriterSettings,
        listener: NewsListener | None = None,
    ) -> None:
        self._base = base
        self._listener = listener
        self._redact = settings.settings.redact
        self._is_recovered = not settings.recovers
        self._last_selector: Selector | None = None
        self._link = WriterLink(
            base.selector,
            base.timers,
            base.clock,
            lambda: Service(_WRITER, settings),
            self._take_news,
            Service.start_patience_s,
        )

    def warm_up(self) -> None:
        self._link.open()

    def pids(self) -> set[int]:
        return self._link.pids()

    def record(
        self, target: Target, incident: Incident, done: Callable[[], None] = lambda: None
    ) -> None:
        report = prepare_report(render_document(incident, redact=self._redact))

        def finish(answer: Answer | None) -> None:
            if isinstance(answer, Kept):
                target.note_kept(answer)
            else:
                target.note_kept(Kept(target.kept.number, self._describe_silence(), is_kept=False))
            done()

        target.note_recorded(incident.uid)
        self._link.ask(Keep(report), finish, _PATIENCE_S)

    def reserve_dump(
        self, signature: str, expected_bytes: int, done: TakeReservation, *, may_grow: bool = False
    ) -> None:
        def finish(answer: Answer | None) -> None:
            if isinstance(answer, (Reservation, Refusal)):
                done(answer)
            else:
                done(Refusal("the store did not answer in time"))

        request = Reserve(signature, expected_bytes, may_grow)
        self._link.ask(request, finish, _RESERVE_PATIENCE_S)

    def settle_dump(self, target: Target, reservation: Reservation, result: DumpResult) -> None:
        request = Settle(reservation, result.path, result.size_bytes, target.uid)
        self._link.ask(request, _ignore, _PATIENCE_S)

    def forget_dump(self, reservation: Reservation) -> None:
        self._link.ask(Forget(reservation), _ignore, _PATIENCE_S)

    def note_pause(self, pause: NotePause) -> None:
        self._link.ask(pause, _ignore, _PATIENCE_S)

    def finish(self) -> None:
        """Waits until everything is written or given up, 15 s at most. The watch is over."""
        try:
            self._last_selector = open_selector()
        except OSError:  # no descriptor is left; the writer writes what it was given nevertheless
            return
        self._link.finish(self._last_selector, self._is_finished, _FINISH_PATIENCE_S)

    def _describe_silence(self) -> str:
        if self._link.is_lost:
            return "this report was not written: no process could be started for it (ulimit -n, -u)"
        return f"this report was not written within {_PATIENCE_S:g} s; it is when the disk answers"

    def _is_finished(self) -> bool:
        """What earlier monitors left is not waited for on a disk that does not answer."""
        is_recovered = self._is_recovered or self._link.is_lost or self._link.has_timed_out
        return self._link.is_answered and is_recovered

    def close(self) -> None:
        """What it was given is still written."""
        self._link.close()
        if self._last_selector is not None:
            self._last_selector.close()

    def _take_news(self, news: News) -> None:
        if isinstance(news, Recovered):
            self._is_recovered = True
        elif self._listener is None:
            return
        elif isinstance(news, Unspooled):
            self._listener.on_unspooled(news.numbers)
        elif isinstance(news, Unreported):
            self._listener.on_unreported(news.report)


def keep_now(place: StorePlace, incident: Incident, *, redact: bool) -> Incident:
    """For an incident without a watch: written by us, and waited for."""
    from perimortem.store.keeper import Keeper

    keeper = Keeper(place)
    try:
        document = render_document(incident, redact=redact)
        (kept,) = keeper.keep([prepare_report(document)])
    finally:
        keeper.close()
    return add_kept(incident, kept)


def add_kept(incident: Incident, kept: Kept) -> Incident:
    """With its number, and why it is not in the store."""
    notes = () if kept.note is None else (kept.note,)
    soft_errors = tuple(dict.fromkeys((*incident.soft_errors, *notes)))
    return replace(incident, number=kept.number, soft_errors=soft_errors)


def _ignore(_answer: Answer | None) -> None:
    return
