"""A look at who waits for whom, and what it costs to keep watch over idle processes: without a peer."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.common import PROGRAMS, median, own_directories
from perimortem.examine.waits import examine_waits

_PROCESSES = 500
_START_S = 3.0
_LOOKS = 9
_WATCHED = 100
_SETTLE_S = 15.0
_SECONDS = 20.0
_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


def measure() -> Iterator[str]:
    yield _measure_looks()
    yield _measure_watch()


def _measure_looks() -> str:
    programs = [subprocess.Popen([PROGRAMS / "idle_threads", "600"]) for _ in range(_PROCESSES)]
    try:
        time.sleep(_START_S)
        times = []
        for _ in range(_LOOKS):
            begin = time.perf_counter()
            graph = examine_waits([program.pid for program in programs]).graph
            times.append((time.perf_counter() - begin) * 1e3)
    finally:
        for program in programs:
            program.kill()
            program.wait()
    return (
        f"a look at {len(graph.threads):,} threads of {_PROCESSES} processes: "
        f"median {median(times):.0f} ms of {_LOOKS}"
    )


def _measure_watch() -> str:
    """With all helpers of the monitor, after the first looks."""
    seconds = int(_SETTLE_S + _SECONDS + 10)
    script = f"for i in $(seq {_WATCHED}); do '{PROGRAMS}/idle_threads' {seconds} & done; wait"
    with own_directories():
        monitor = subprocess.Popen(
            [sys.executable, "-m", "perimortem", "run", "-q", "--", "sh", "-c", script]
        )
        time.sleep(_SETTLE_S)
        before = _read_cpu_s(monitor.pid)
        time.sleep(_SECONDS)
        share = (_read_cpu_s(monitor.pid) - before) / _SECONDS
        monitor.wait()
    return f"watch over {_WATCHED} idle processes of 4 threads: {share:.2%} of one core"


def _read_cpu_s(pid: int) -> float:
    """Of a monitor and its helpers, which have names of ours."""
    pids = [pid]
    for path in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
        if (Path("/proc") / path / "comm").read_text().startswith(("perimortem", "python")):
            pids.append(int(path))
    total = 0
    for each in pids:
        fields = Path(f"/proc/{each}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS_PER_S
