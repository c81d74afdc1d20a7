"""From the moment a heartbeat's threshold has passed to the hang verdict."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator

from bench.common import PROGRAMS, median, own_directories, percentile

_HANGS = 100


def measure() -> Iterator[str]:
    with own_directories() as folder:
        report = folder / "report.json"
        subprocess.run(
            [sys.executable, "-m", "perimortem", "run", "-q", "--dump-type", "none", "--no-stacks",
             "--report", report, "--", PROGRAMS / "hang_many", str(_HANGS), "0.1"],
            check=True,
        )  # fmt: skip
        late_ms = [hang["late_ms"] for hang in json.loads(report.read_text())["hangs"]]
    yield (
        f"threshold to hang verdict: median {median(late_ms):.0f} ms, p99 "
        f"{percentile(late_ms, 0.99):.0f} ms of {len(late_ms)} hangs"
    )
