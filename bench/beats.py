"""Cost of a beat and of an event, beside a daemon's other ways to report that it is alive."""

from __future__ import annotations

import socket
import subprocess
import time
from collections.abc import Callable, Iterator

import perimortem
from bench.common import PROGRAMS, median, own_directories

_EVENT = b'{"step":12345,"loss":0.125}'


def measure() -> Iterator[str]:
    with own_directories():
        output = subprocess.run(
            [PROGRAMS / "beat_cost"], capture_output=True, text=True, check=True
        )
        rounds = [[float(word) for word in line.split()] for line in output.stdout.splitlines()]
        beat, emit, sent, notified = (median(list(column)) for column in zip(*rounds, strict=True))
        yield (
            f"C: beat is 1/{notified / beat:.0f} of sd_notify and 1/{sent / beat:.0f} of a datagram "
            f"on a kept socket ({beat:.1f} ns, {notified:.0f} ns, {sent:.0f} ns)"
        )
        yield (
            f"C: emit is 1/{notified / emit:.0f} of sd_notify and 1/{sent / emit:.1f} of a datagram "
            f"on a kept socket ({emit:.0f} ns)"
        )
        yield from _measure_python()


def _measure_python() -> Iterator[str]:
    inbox = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    inbox.bind(b"\0perimortem-bench-python")
    inbox.setblocking(False)
    kept = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    kept.connect(b"\0perimortem-bench-python")
    session = perimortem.attach("bench")
    assert session.error == "", session.error

    def notify() -> None:
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as one:
            one.sendto(b"WATCHDOG=1", b"\0perimortem-bench-python")

    def drain() -> None:
        while True:
            try:
                inbox.recv(256)
            except BlockingIOError:
                return

    rounds = []
    for _ in range(5):
        beat = _time(session.beat, 200_000, None)
        emit = _time(lambda: session.emit("train.step", step=12345, loss=0.125), 20_000, None)
        sent = _time(lambda: kept.send(_EVENT), 20_000, drain)
        notified = _time(notify, 5_000, drain)
        rounds.append((beat, emit, sent, notified))
    beat, emit, sent, notified = (median(list(column)) for column in zip(*rounds, strict=True))
    yield (
        f"Python: beat is 1/{notified / beat:.0f} of sd_notify and 1/{sent / beat:.1f} of a datagram "
        f"on a kept socket ({beat:.0f} ns, {notified:.0f} ns, {sent:.0f} ns)"
    )
    yield f"Python: emit is {emit / sent:.1f} times a datagram on a kept socket ({emit:.0f} ns)"
    inbox.close()
    kept.close()


def _time(call: Callable[[], object], count: int, drain: Callable[[], None] | None) -> float:
    """Nanoseconds per call; what fills up is emptied every ten calls, outside the clock."""
    if drain is None:
        start = time.perf_counter_ns()
        for _ in range(count):
            call()
        return (time.perf_counter_ns() - start) / count
    spent = 0
    for _ in range(count // 10):
        start = time.perf_counter_ns()
        for _ in range(10):
            call()
        spent += time.perf_counter_ns() - start
        drain()
    return spent / count
