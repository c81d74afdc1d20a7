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
    news = _recover(settings, keeper)
    has_news = True
    while True:
        batch = _take(inbox, waits=not has_news)
        requests = [decode_line(line) for line in batch if line is not None]
        for number, answer in _answer(keeper, requests):
            with suppress(OSError):
                send(encode_line(number, answer))
        if keeper.may_bring_in:
            for numbers in keeper.bring_in():
                with suppress(OSError):
                    send(encode_line(None, Unspooled(tuple(numbers))))
        if batch and batch[-1] is None:
            break
        if has_news and not batch:
            found = next(news, None)
            has_news = found is not None
            if found is not None:
                with suppress(OSError):
                    send(encode_line(None, found))
    keeper.close()


def _recover(settings: WriterSettings, keeper: Keeper) -> Iterator[News]:
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
    keeper: Keeper, requests: Sequence[tuple[int | None, Request]]
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
        elif isinstance(request, Forget):
            keeper.forget(request.reservation)
            yield number, Received()
