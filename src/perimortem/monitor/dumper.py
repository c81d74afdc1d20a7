"""Every dump that a watch takes: asked for by signature, within the store's bounds, few at a time."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from perimortem.clock import Clock
from perimortem.dump.protocol import DumpRequest
from perimortem.model.crash import Crash
from perimortem.model.dump import BULK_TYPES, DumpOptions, DumpResult
from perimortem.model.evidence import Confidence
from perimortem.monitor.dump_workers import DumpWorkers
from perimortem.monitor.keeper import Keeper
from perimortem.monitor.session import Session, dump_path
from perimortem.monitor.settings import Settings
from perimortem.proc import estimate_dump_bytes
from perimortem.recorder import recorder_path
from perimortem.store.ledger import Refusal, Reservation

AT_ONCE_MAX = max(2, min(8, os.cpu_count() or 1))
"""Dumps under way; a worker takes a processor. Others wait for their turn."""

Done = Callable[[], None]


@dataclass
class _Wish:
    session: Session
    """Whose incident the dump is for."""
    examined: Session
    """Who is dumped."""
    signature: str
    options: DumpOptions
    crash: Crash | None
    done: Done


class Dumper:
    """Turns wishes into dumps in ``session.dumps``, or a note that says why there is none."""

    def __init__(
        self, settings: Settings, workers: DumpWorkers, keeper: Keeper | None, clock: Clock
    ) -> None:
        self._settings = settings
        self._workers = workers
        self._keeper = keeper
        self._clock = clock
        self._waiting: deque[_Wish] = deque()
        self._under_way: list[_Wish] = []
        self._is_going_on = False

    def request(
        self,
        session: Session,
        signature: str,
        done: Done,
        *,
        examined: Session | None = None,
        crash: Crash | None = None,
    ) -> None:
        """Dump ``examined`` (``session`` itself unless given); ``done`` is called once, now or later."""
        options = self._settings.dump
        if options is None:
            done()
            return
        wish = _Wish(session, examined or session, signature, options, crash, done)
        self._waiting.append(wish)
        self._go_on()

    def is_busy_with(self, pid: int) -> bool:
        """It is being dumped, or its turn will come."""
        return any(wish.examined.pid == pid for wish in (*self._waiting, *self._under_way))

    def _go_on(self) -> None:
        if self._is_going_on:
            return  # a wish that failed at once: the loop below goes on by itself
        self._is_going_on = True
        try:
            while self._waiting and len(self._under_way) < AT_ONCE_MAX:
                self._begin(self._waiting.popleft())
        finally:
            self._is_going_on = False

    def _begin(self, wish: _Wish) -> None:
        if wish.examined.ended_ns is not None:
            self._refuse(wish, "it ended before its turn came")
            return
        if wish.examined.is_dumped_at_end:
            self._refuse(wish, "it is traced to its end (--capture-exit), and dumped then")
            return
        reservation = self._reserve(wish)
        if isinstance(reservation, Refusal):
            self._refuse(wish, reservation.why)
            return
        self._under_way.append(wish)
        path = dump_path(
            self._settings.dumps_dir,
            wish.examined,
            self._clock.realtime_ns() // 1_000_000_000,
            wish.options,
        )
        limit = self._settings.dump_size_limit_bytes
        if reservation is not None:
            limit = min(limit, reservation.size_limit_bytes)
        process = wish.examined.target.ref
        request = DumpRequest(
            process,
            path,
            wish.options,
            limit,
            wish.crash,
            recorder=recorder_path(self._settings.run_dir, process),
        )
        self._workers.request(
            request,
            lambda result: self._finish(wish, reservation, result),
            self._clock.monotonic_ns(),
        )

    def _reserve(self, wish: _Wish) -> Reservation | Refusal | None:
        if self._keeper is None:
            return None
        is_full = bool(wish.options.types & BULK_TYPES)
        expected = estimate_dump_bytes(wish.examined.pid, is_full=is_full)
        return self._keeper.reserve_dump(wish.signature, expected, may_grow=is_full)

    def _refuse(self, wish: _Wish, why: str) -> None:
        wish.session.soft_errors.append(f"not dumped: {why}")
        wish.done()

    def _finish(self, wish: _Wish, reservation: Reservation | None, result: DumpResult) -> None:
        self._under_way.remove(wish)
        wish.session.dumps.append(result)
        if result.worker_failure:
            wish.session.add_evidence(result.worker_failure, "monitor", Confidence.OBSERVED)
        wish.done()
        if self._keeper is not None and reservation is not None:
            self._keeper.settle_dump(wish.session, reservation, result)
        self._go_on()
