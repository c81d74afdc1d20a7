"""The process that writes for a monitor: reports, the ledger of dumps, and what earlier monitors left.

A monitor never waits for a disk or a database; this process does. It goes on when the monitor is killed,
until it has written what it was given.
"""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress

from perimortem.monitor.settings import WriterSettings
from perimortem.store.keeper import Keeper
from perimortem.store.requests import (
    Answer,
    Forget,
    Keep,
    News,
    NotePause,
    Received,
    Recovered,
    Request,
    Reserve,
    Settle,
    Unspooled,
    decode_line,
    encode_line,
)

_BATCH_MAX = 200
"""Reports in one commit. Arbitrary."""


def serve(settings: WriterSettings, lines: Iterator[bytes], send: Callable[[bytes], None]) -> None:
    """Until ``lines`` ends. ``send`` may fail: the monitor is gone, and its requests are still done."""
    inbox: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
    threading.Thread(target=_receive, args=(lines, inbox), daemon=True).start()
    keeper = Keeper(settings.place)
    work = [_recover(settings, keeper)]
    """What is done, a step at a time, while there are no requests."""
    while True:
        batch = _take(inbox, waits=not work)
        requests = [decode_line(line) for line in batch if line is not None]
        for number, answer in _answer(keeper, requests, settings.command):
            with suppress(OSError):
                send(encode_line(number, answer))
        if batch and batch[-1] is None:
            if keeper.may_bring_in:
                for _ in keeper.bring_in():
                    continue
            break
        if keeper.may_bring_in and len(work) < 2:
            work.append(_bring_in(keeper))
        if work and not batch:
            try:
                news = next(work[0])
            except StopIteration:
                work.pop(0)
                continue
            if news is not None:
                with suppress(OSError):
                    send(encode_line(None, news))
    keeper.close()


def _bring_in(keeper: Keeper) -> Iterator[News | None]:
    for numbers in keeper.bring_in():
        yield Unspooled(tuple(numbers))


def _recover(settings: WriterSettings, keeper: Keeper) -> Iterator[News | None]:
    if settings.recovers:
        from perimortem.monitor.recover import recover  # mostly there is nothing to recover

        yield from recover(
            settings.settings,
            keeper,
            settings.monitor,
            reports_own=settings.reports_own,
        )
    yield Recovered()


def _receive(lines: Iterator[bytes], inbox: queue.SimpleQueue[bytes | None]) -> None:
    with suppress(OSError):
        for line in lines:
            inbox.put(line)
    inbox.put(None)


def _take(inbox: queue.SimpleQueue[bytes | None], *, waits: bool) -> list[bytes | None]:
    """What has arrived; None is the end of it."""
    batch = [inbox.get()] if waits else []
    with suppress(queue.Empty):
        while len(batch) < _BATCH_MAX and (not batch or batch[-1] is not None):
            batch.append(inbox.get_nowait())
    return batch


def _answer(
    keeper: Keeper, requests: Sequence[tuple[int | None, Request]], command: str
) -> Iterator[tuple[int | None, Answer]]:
    """Reservations first: a process waits for each. Reports that came together share a commit."""
    for number, request in requests:
        if isinstance(request, Reserve):
            answer = keeper.reserve(
                request.signature, request.expected_bytes, may_grow=request.may_grow
            )
            yield number, answer
    kept = [(number, request.report) for number, request in requests if isinstance(request, Keep)]
    # Of several reports of one incident the last replaces the others.
    latest = {report.uid or str(number): report for number, report in kept}
    if latest:
        answers = dict(zip(latest, keeper.keep(list(latest.values())), strict=True))
        for number, report in kept:
            yield number, answers[report.uid or str(number)]
    for number, request in requests:
        if isinstance(request, Settle):
            keeper.settle(request.reservation, request.path, request.size_bytes, request.uid)
            yield number, Received()
        elif isinstance(request, NotePause):
            keeper.note_pause(command, request.pause_ns, request.waited_ns)
            yield number, Received()
        elif isinstance(request, Forget):
            keeper.forget(request.reservation)
            yield number, Received()
