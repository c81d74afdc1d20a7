"""Start of the command line, beside the interpreter alone."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.common import median, own_directories

_ROUNDS = 15


def measure() -> Iterator[str]:
    with own_directories():
        program = str(Path(sys.executable).with_name("perimortem"))
        plain = _time([sys.executable, "-c", "pass"])
        click_ms = _time_cpu([sys.executable, "-c", "import click"])
        for words in (
            ["explain", "139"],
            ["run", "-q", "--", "true"],
            ["run", "-q", "--no-agent", "--", "true"],
        ):
            ours = _time([program, *words])
            yield (
                f"perimortem {' '.join(words)}: {ours:.0f} ms, {ours / plain:.1f} times "
                f"'python -c pass' ({plain:.0f} ms)"
            )
            yield f"  its CPU: {_time_cpu([program, *words]) / click_ms:.1f} times 'import click'"


def _time(argv: list[str]) -> float:
    times = []
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        times.append((time.perf_counter() - start) * 1e3)
    return median(times)


def _time_cpu(argv: list[str]) -> float:
    """Milliseconds of CPU, with all children that have been waited for."""
    times = []
    for _ in range(_ROUNDS):
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        subprocess.run(argv, check=True, stdout=subprocess.DEVNULL)
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        used = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
        times.append(used * 1e3)
    return median(times)
