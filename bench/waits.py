"""A look at who waits for whom, and what it costs to keep watch over idle processes: without a peer."""

from __future__ import annotations

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
_SETTLE_S = 20.0
_SECONDS = 40.0


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
    """With all helpers of the monitor, looks apart: they become rare."""
    seconds = int(_SETTLE_S + _SECONDS + 10)
    script = f"for i in $(seq {_WATCHED}); do '{PROGRAMS}/idle_threads' {seconds} & done; wait"
    with own_directories():
        monitor = subprocess.Popen(
            [sys.executable, "-m", "perimortem", "run", "-q", "--", "sh", "-c", script]
        )
        time.sleep(_SETTLE_S)
        before, _ = _read_cpu_ns(monitor.pid)
        time.sleep(_SECONDS)
        after, looks_ns = _read_cpu_ns(monitor.pid)
        monitor.wait()
    return (
        f"watch over {_WATCHED} idle processes of 4 threads: {(after - before) / 1e9 / _SECONDS:.2%} "
        f"of one core; looks, after 10 s, 40 s ... then every 10 minutes: {looks_ns / 1e6:.0f} ms "
        f"in the first {_SETTLE_S + _SECONDS:.0f} s"
    )


def _read_cpu_ns(pid: int) -> tuple[int, int]:
    """Of a monitor and its helpers, which have names of ours; the second: of the one that looks."""
    total_ns = looks_ns = 0
    for each in (pid, *Path(f"/proc/{pid}/task/{pid}/children").read_text().split()):
        name = (Path("/proc") / str(each) / "comm").read_text()
        if not name.startswith(("perimortem", "pmr-", "python")):
            continue
        tasks = (Path("/proc") / str(each) / "task").glob("*/schedstat")
        used_ns = sum(int(task.read_text().split()[0]) for task in tasks)
        if name.startswith("perimortem: loo"):
            looks_ns = used_ns
        else:
            total_ns += used_ns
    return total_ns, looks_ns
