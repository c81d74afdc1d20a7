"""Shared by the benchmarks."""

from __future__ import annotations

import os
import statistics
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

PROGRAMS = Path(__file__).resolve().parent.parent / "tests" / "programs" / "bin"


@contextmanager
def own_directories() -> Iterator[Path]:
    """Run and data directories of this benchmark alone, in memory where possible."""
    base = "/dev/shm" if os.access("/dev/shm", os.W_OK) else None
    with tempfile.TemporaryDirectory(prefix="perimortem-bench-", dir=base) as directory:
        path = Path(directory)
        os.environ["PERIMORTEM_RUN_DIR"] = str(path / "run")
        os.environ["PERIMORTEM_DATA_DIR"] = str(path / "data")
        yield path


def percentile(values: list[float], share: float) -> float:
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]


def median(values: list[float]) -> float:
    return statistics.median(values)
