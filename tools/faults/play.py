"""Play the cases of a row: each in a separate process, as many at once as there are processors."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import signal
import subprocess
import time
from collections.abc import Callable
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

import msgspec

from .place import ROOT
from .processes import adopt_orphans, end_all
from .row import Plan, Played, Row, Total


def play_row(
    row: Row, plan: Plan, seconds: float, say: Callable[[Row, str, Played], None]
) -> Total:
    """Until the cases end or the time is over; ``say`` is called after each case."""
    total = Total(row)
    begin = time.monotonic()
    jobs = row.jobs or os.cpu_count() or 1
    cases = filter(plan.admits, row.list_cases(plan))
    with ThreadPoolExecutor(jobs) as pool:
        running: dict[Future[Played], str] = {}
        while True:
            is_time_over = time.monotonic() - begin > seconds
            while not is_time_over and len(running) < jobs:
                case = next(cases, None)
                if case is None:
                    break
                running[pool.submit(play_apart, row, case, row.deadline_s)] = case
            if not running:
                break
            for future in wait(running, return_when=FIRST_COMPLETED).done:
                case, played = running.pop(future), future.result()
                total.take(case, played)
                say(row, case, played)
    total.seconds = time.monotonic() - begin
    return total


def play_apart(row: Row, case: str, deadline_s: float | None) -> Played:
    """In a separate process, so that what it leaves ends with it."""
    argv = [
        *row.wrap(case),
        sys.executable,
        "-m",
        "tools.faults",
        row.name,
        "--only",
        case,
        "--apart",
    ]
    process = subprocess.Popen(
        argv, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    try:
        answer, said = process.communicate(timeout=deadline_s)
        return msgspec.json.decode(answer, type=Played)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.communicate()
        return Played(problems=[("failed", f"not over after {deadline_s} s")])
    except msgspec.DecodeError:
        why = said.decode(errors="replace")[-2000:]
        return Played(problems=[("failed", f"status {process.returncode}: {why}")])


def play_here(row: Row, case: str) -> Played:
    """In this process, whose descendants are ended with it."""
    adopt_orphans()
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # it takes too long
    try:
        return row.play(case)
    finally:
        end_all()
