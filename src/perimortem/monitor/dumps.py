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
from perimortem.monitor.dump_jobs import DUMP_WORKER, EXIT_DUMP_WORKER, Done, DumpTask, Prepare
from perimortem.monitor.incident_store import IncidentStore, TakeReservation
from perimortem.monitor.settings import Settings
from perimortem.monitor.target import Target
from perimortem.monitor.timers import Timers
from perimortem.monitor.workers import WorkerPool
from perimortem.proc import estimate_dump_bytes
from perimortem.recorder import recorder_path
from perimortem.store.answers import Refusal, Reservation

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
        request.begin()
        return request.cancel

    def take_at_exit(
        self,
        target: Target,
        begun: Callable[[Reservation], None],
        done: Callable[[Taken], None],
    ) -> None:
        """Start a worker that traces ``target`` to its exit and dumps it then (--capture-exit).

        ``begun`` is called before that, unless no dump is allowed."""
        options = self._settings.dump or DumpOptions()

        def start(reservation: Reservation | Refusal) -> None:
            if isinstance(reservation, Refusal):
                done(Taken(None, f"not dumped at its exit: {reservation.why}"))
                return
            begun(reservation)
            self._start_exit_dump(target, options, reservation, done)

        # Its size at that time is not known.
        self.reserve(
            target.process, f"{target.process.name}: its exit", options, start, may_grow=True
        )

    def submit(self, wish: Wish, prepare: Prepare, finish: Done) -> DumpTask:
        """A dump whose room is reserved."""
        return DumpTask(
            self._pool,
            wish.process.ref.pid,
            prepare,
            finish,
            deadline_s=self._settings.dump_deadline_s,
            is_urgent=wish.crash is not None,
        )

    def _start_exit_dump(
        self,
        target: Target,
        options: DumpOptions,
        reservation: Reservation,
        done: Callable[[Taken], None],
    ) -> None:
        request = DumpRequest(
            target.ref,
            self.choose_path(target.process, options),
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
        self,
        process: ProcessInfo,
        signature: str,
        options: DumpOptions,
        done: TakeReservation,
        *,
        may_grow: bool = False,
    ) -> None:
        """Reserve space in the store."""
        is_full = bool(options.types & BULK_TYPES)
        expected = estimate_dump_bytes(process.ref.pid, is_full=is_full)
        self._store.reserve_dump(signature, expected, done, may_grow=may_grow or is_full)

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
    """One request in progress: room is reserved, then the dump waits for its turn."""

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
        self._task: DumpTask | None = None
        self._is_cancelled = False

    def begin(self) -> None:
        wish = self._wish
        if wish.target.is_dumped_at_exit and wish.process.ref == wish.target.ref:
            why = "not dumped: it is traced to its exit (--capture-exit), and dumped then"
            self._done(Taken(None, why))
            return
        self._dumps.reserve(wish.process, wish.signature, self._options, self._take_reservation)

    def cancel(self) -> None:
        """It is not wanted any more; ``done`` is not called."""
        self._is_cancelled = True
        if self._task is not None:
            self._task.cancel()
        self._forget()

    def _take_reservation(self, answer: Reservation | Refusal) -> None:
        if isinstance(answer, Reservation):
            self._reservation = answer
            if self._is_cancelled:
                self._forget()
                return
        elif self._is_cancelled:
            return
        else:
            self._why_not_kept = f"not dumped: {answer.why}"
            if not answer.is_repeat or not self._dumps.may_take_scratch:
                self._done(Taken(None, self._why_not_kept))
                return
        self._task = self._dumps.submit(self._wish, self._prepare, self._finish)

    def _prepare(self) -> DumpRequest | None:
        """Its turn has come; None if there is nothing to dump."""
        if self._is_gone():
            self._forget()
            self._done(Taken(None, "not dumped: it ended before its turn came"))
            return None
        if self._reservation is not None:
            return self._dumps.make_request(self._wish, self._options, self._reservation)
        # Its stacks are still read, from a dump that is not kept.
        small = replace(self._options, types=MINI, compress=False)
        return self._dumps.make_request(self._wish, small, None)

    def _finish(self, result: DumpResult) -> None:
        if self._reservation is None:
            scratch = Path(result.path) if result.path else None
            self._done(Taken(None, self._why_not_kept, scratch))
            return
        reservation, self._reservation = self._reservation, None
        self._done(Taken(result))
        self._dumps.settle(self._wish.target, reservation, result)

    def _forget(self) -> None:
        if self._reservation is not None:
            self._dumps.forget(self._reservation)
            self._reservation = None
