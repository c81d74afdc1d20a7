"""From a fault to the end of the process, with its dump on disk; beside a core of the kernel."""

from __future__ import annotations

import os
import select
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.common import PROGRAMS, median, own_directories

_ROUNDS = 50
_PAUSE_S = 0.15
"""For the next spare worker, since crashes do not follow each other this fast."""


def measure() -> Iterator[str]:
    for threads in (1, 20, 50):
        ours, cores = _measure_both(threads)
        yield (
            f"{threads} threads: fault to end, dump on disk: median {median(ours):.1f} ms of {_ROUNDS}; "
            f"without us {median(cores):.1f} ms with a core file in memory, which is "
            f"{median(ours) / median(cores):.1f} times as long with us"
        )


def _measure_both(threads: int) -> tuple[list[float], list[float]]:
    with own_directories() as folder:
        os.environ["PERIMORTEM_DUMPS_PER_HOUR"] = "1000000"
        monitor = subprocess.Popen(
            [sys.executable, "-m", "perimortem", "monitor", "-q"], stderr=subprocess.DEVNULL
        )
        try:
            socket = folder / "run" / "monitor.sock"
            while not socket.exists():
                time.sleep(0.01)
            ours = [_crash(folder, str(threads), "attach") for _ in range(_ROUNDS)]
            dumps = list((folder / "data" / "dumps").glob("*.dmp"))
            assert len(dumps) == _ROUNDS, f"{len(dumps)} dumps"
        finally:
            monitor.terminate()
            monitor.wait()
        return ours, [_crash(folder, str(threads)) for _ in range(_ROUNDS)]


def _crash(folder: Path, *arguments: str) -> float:
    program = subprocess.Popen(
        ["bash", "-c", 'ulimit -c unlimited; exec "$0" "$@"', PROGRAMS / "crash_threads", *arguments]
        if len(arguments) == 1
        else [PROGRAMS / "crash_threads", *arguments],
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=folder,
    )  # fmt: skip
    assert program.stdin is not None
    assert program.stdout is not None
    assert program.stdout.readline() == "ready\n"
    time.sleep(_PAUSE_S)
    held = os.pidfd_open(program.pid)
    program.stdin.write("\n")
    program.stdin.flush()
    select.select([held], [], [])
    ended_ns = time.monotonic_ns()
    os.close(held)
    faulted_ns = int(program.stdout.readline())
    program.wait()
    for pipe in (program.stdin, program.stdout):
        pipe.close()
    for core in folder.glob("core*"):
        core.unlink()
    return (ended_ns - faulted_ns) / 1e6
