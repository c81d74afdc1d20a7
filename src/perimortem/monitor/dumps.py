"""Every dump of a watch: within the store's limits, which are checked when a dump's turn comes."""

from __future__ import annotations

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from pathlib import Path

from perimortem.clock import Clock
from perimortem.dumping.naming import choose_ending, dump_name
from perimortem.dumping.protocol import DumpRequest
from perimortem.model.crash import Crash
from perimortem.model.dump import BULK_TYPES, MINI, DumpOptions, DumpResult
from perimortem.model.process import ProcessInfo
from perimortem.monitor.dump_jobs import DUMP_WORKER, EXIT_DUMP_WORKER, DumpTask
from perimortem.monitor.incident_store import IncidentStore
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.timers import Timers
from perimortem.monitor.workers import WorkerPool
from perimortem.proc import estimate_dump_bytes
from perimortem.recorder import recorder_path
from perimortem.store.ledger import Refusal, Reservation

_SCRATCH_LIMIT_BYTES = 64 << 20
_STORM = 8
"""More queued jobs than this count as a storm of crashes. Arbitrary."""


@dataclass(frozen=True)
class Taken:
    """The outcome of a dump job."""

    result: DumpResult | None
    """None if no dump was allowed."""
    why_none: str | None = None
    """Why none was allowed, or kept."""
    scratch: Path | None = None
    """The dump is examined and then removed: a similar one was kept before."""

    @property
    def path(self) -> Path | None:
        """The file to be examined."""
        if self.scratch is not None:
            return self.scratch
        return Path(self.result.path) if self.result and self.result.path else None

    def note_in(self, target: Target) -> None:
        """Belongs to the incident of ``target``."""
        if self.result is not None:
            target.note_dump(self.result)
        if self.why_none is not None:
            target.note_soft_error(self.why_none)

    def discard_scratch(self) -> None:
        if self.scratch is not None:
            with contextlib.suppress(OSError):
                self.scratch.unlink()


@dataclass(frozen=True)
class Wish:
    """A requested dump."""

    target: Target
    """The target whose incident it belongs to."""
    process: ProcessInfo
    """The process to dump."""
    signature: str
    """Equal for dumps that would show the same."""
    crash: Crash | None = None


class Dumps:
    """Turns dump requests into dumps."""

    def __init__(
        self,
        settings: Settings,
        pool: WorkerPool,
        store: IncidentStore,
        timers: Timers,
        clock: Clock,
    ) -> None:
        self._settings = settings
        self._pool = pool
        self._store = store
        self._timers = timers
        self._clock = clock

    def warm_up(self) -> None:
        """A dump may be requested at any time from now on."""
        if self._settings.dump is not None:
            self._pool.warm_up(DUMP_WORKER)

    def take(
        self, wish: Wish, is_gone: Callable[[], bool], done: Callable[[Taken], None]
    ) -> Callable[[], None]:
        """``done`` is called once, now or later, unless the returned function is called to cancel it.

        ``is_gone``: whether the process ended before its turn came."""
        options = self._settings.dump
        if options is None:
            done(Taken(None))
            return lambda: None
        request = _Request(self, wish, options, is_gone, done)
        task = DumpTask(
            self._pool,
            wish.process.ref.pid,
            request.prepare,
            request.finish,
            deadline_s=self._settings.dump_deadline_s,
            is_urgent=wish.crash is not None,
        )
        return task.cancel

    def take_at_exit(self, target: Target, done: Callable[[Taken], None]) -> Reservation | Refusal:
        """Start a worker that traces ``target`` to its exit and dumps it then (--capture-exit)."""
        options = self._settings.dump or DumpOptions()
        # Its size at that time is not known.
        reservation = self.reserve(
            target.process, f"{target.process.name}: its exit", options, True
        )
        if isinstance(reservation, Refusal):
            return reservation
        path = self.choose_path(target.process, options)
        request = DumpRequest(
            target.ref,
            path,
            options,
            reservation.size_limit_bytes,
            at_exit=True,
            recorder=recorder_path(self._settings.run_dir, target.ref),
        )

        def finish(result: DumpResult) -> None:
            if result.path is None:
                done(Taken(None, f"not dumped at its exit: {result.error}"))
            else:
                done(Taken(result))
            self.settle(target, reservation, result)

        DumpTask(
            self._pool,
            target.pid,
            lambda: request,
            finish,
            deadline_s=None,
            kind=EXIT_DUMP_WORKER,
        )
        return reservation

    def make_request(
        self, wish: Wish, options: DumpOptions, reservation: Reservation | None
    ) -> DumpRequest:
        """``reservation``: None for a dump that is not kept."""
        path = self.choose_path(wish.process, options)
        if reservation is None:
            path = path.with_name(f".{path.name}.scratch")
        limit = reservation.size_limit_bytes if reservation else _SCRATCH_LIMIT_BYTES
        return DumpRequest(
            wish.process.ref,
            path,
            options,
            min(limit, self._settings.dump_size_limit_bytes),
            wish.crash,
            recorder=recorder_path(self._settings.run_dir, wish.process.ref),
        )

    def choose_path(self, process: ProcessInfo, options: DumpOptions) -> Path:
        """The path for a dump of this process."""
        unix_s = self._clock.realtime_ns() // 1_000_000_000
        name = dump_name(process.name, unix_s, process.ref.pid, choose_ending(options))
        return self._settings.dumps_dir / name

    def reserve(
        self, process: ProcessInfo, signature: str, options: DumpOptions, may_grow: bool
    ) -> Reservation | Refusal:
        """Reserve space in the store."""
        is_full = bool(options.types & BULK_TYPES)
        expected = estimate_dump_bytes(process.ref.pid, is_full=is_full)
        return self._store.reserve_dump(signature, expected, may_grow=may_grow or is_full)

    def settle(self, target: Target, reservation: Reservation, result: DumpResult) -> None:
        """Settle the reservation, after the target was released: it has waited long enough."""
        self._timers.call_later(
            self._clock.monotonic_ns(),
            lambda _now_ns: self._store.settle_dump(target, reservation, result),
        )

    def forget(self, reservation: Reservation) -> None:
        """Withdraws the reservation: the dump is not needed."""
        self._store.forget_dump(reservation)

    @property
    def may_take_scratch(self) -> bool:
        """Stacks are read, and this is no storm in which processes would wait too long for it."""
        return self._settings.collect_stacks and self._pool.waiting_count <= _STORM


class _Request:
    """One request in progress."""

    def __init__(
        self,
        dumps: Dumps,
        wish: Wish,
        options: DumpOptions,
        is_gone: Callable[[], bool],
        done: Callable[[Taken], None],
    ) -> None:
        self._dumps = dumps
        self._wish = wish
        self._options = options
        self._is_gone = is_gone
        self._done = done
        self._reservation: Reservation | None = None
        self._why_not_kept: str | None = None

    def prepare(self) -> DumpRequest | None:
        """Its turn has come; None if there is nothing to dump."""
        wish = self._wish
        if self._is_gone():
            self._done(Taken(None, "not dumped: it ended before its turn came"))
            return None
        if wish.target.is_dumped_at_exit and wish.process.ref == wish.target.ref:
            why = "not dumped: it is traced to its exit (--capture-exit), and dumped then"
            self._done(Taken(None, why))
            return None
        reservation = self._dumps.reserve(wish.process, wish.signature, self._options, False)
        if isinstance(reservation, Reservation):
            self._reservation = reservation
            return self._dumps.make_request(wish, self._options, reservation)
        self._why_not_kept = f"not dumped: {reservation.why}"
        if not reservation.is_repeat or not self._dumps.may_take_scratch:
            self._done(Taken(None, self._why_not_kept))
            return None
        # Its stacks are still read, from a dump that is not kept.
        small = replace(self._options, types=MINI, compress=False)
        return self._dumps.make_request(wish, small, None)

    def finish(self, result: DumpResult) -> None:
        if self._reservation is None:
            scratch = Path(result.path) if result.path else None
            self._done(Taken(None, self._why_not_kept, scratch))
            return
        self._done(Taken(result))
        self._dumps.settle(self._wish.target, self._reservation, result)
