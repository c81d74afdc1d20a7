"""What following a tree costs a command that starts many short programs, beside strace -f."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

from bench.common import median, own_directories

_PROGRAMS = 1000
_ROUNDS = 5
_SCRIPT = f"i=0; while [ $i -lt {_PROGRAMS} ]; do /bin/true; i=$((i+1)); done"
_COMMAND = ["sh", "-c", _SCRIPT]


def measure() -> Iterator[str]:
    with own_directories():
        perimortem = [str(Path(sys.executable).with_name("perimortem")), "run", "-q"]
        rows = {
            "run": [*perimortem, "--", *_COMMAND],
            "run --no-follow": [*perimortem, "--no-follow", "--", *_COMMAND],
        }
        if shutil.which("strace"):
            rows["strace -f -e trace=process"] = [
                "strace", "-f", "-qq", "-e", "trace=process", "-o", "/dev/null", *_COMMAND,
            ]  # fmt: skip
        times: dict[str, list[float]] = {name: [] for name in ("plain", *rows)}
        for _ in range(_ROUNDS):
            for name, argv in {"plain": _COMMAND, **rows}.items():
                times[name].append(_time(argv))
        plain = median(times["plain"])
        for name in rows:
            ratio = median(times[name]) / plain
            yield f"{_PROGRAMS} times /bin/true in a shell, under {name}: {ratio:.1f} times as long"


def _time(argv: list[str]) -> float:
    start = time.perf_counter()
    subprocess.run(argv, check=True, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    return time.perf_counter() - start
