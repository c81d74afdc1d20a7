"""From the death of a target to its verdict."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.common import PROGRAMS, median, own_directories, percentile
from perimortem.report.text import parse_time

_ROUNDS = 30


def measure() -> Iterator[str]:
    with own_directories() as folder:
        delays = [_measure_once(folder / f"{i}.json") for i in range(_ROUNDS)]
    yield (
        f"SIGKILL to verdict: median {median(delays):.1f} ms, p90 {percentile(delays, 0.9):.1f} ms "
        f"of {_ROUNDS}"
    )


def _measure_once(report: Path) -> float:
    monitor = subprocess.Popen(
        [sys.executable, "-m", "perimortem", "run", "-q", "--report", report, "--",
         PROGRAMS / "beats"],
        stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True,
    )  # fmt: skip
    assert monitor.stdout is not None
    monitor.stdout.readline()
    time.sleep(0.2)  # past its start: a process in its steady state is killed
    children = Path(f"/proc/{monitor.pid}/task/{monitor.pid}/children").read_text().split()
    target = next(p for p in children if Path(f"/proc/{p}/comm").read_text().strip() == "beats")
    killed_at_s = time.time()
    os.kill(int(target), signal.SIGKILL)
    monitor.communicate()
    document = json.loads(report.read_text())
    return (parse_time(document["verdict_at"]).timestamp() - killed_at_s) * 1e3
