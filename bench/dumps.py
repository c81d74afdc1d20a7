"""What a dump costs the target: its pause, as the target itself sees it, beside gdb and gcore."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.common import median, own_directories
from bench.meter import Dumper, Meter
from perimortem.model.dump import MINI, DumpOptions

_ROUNDS = 7
_THREADS = 50


def measure() -> Iterator[str]:
    with own_directories(), tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        ours, times = _measure_ours(folder)
        yield (
            f"mini dump of {_THREADS} threads: target paused {ours:.1f} ms (its own clock, median of "
            f"{_ROUNDS}), whole dump {times:.0f} ms"
        )
        for name, command in (
            (
                "gdb -batch -ex bt",
                lambda pid: ["gdb", "-nx", "-batch", "-p", str(pid), "-ex", "bt"],
            ),
            ("gcore", lambda pid: ["gcore", "-o", str(folder / "core"), str(pid)]),
        ):
            if not shutil.which(name.split()[0]):
                yield f"{name}: not installed"
                continue
            pause, whole = _measure_command(command)
            yield (
                f"the same by {name}: paused {pause:.0f} ms, {whole:.0f} ms in all: "
                f"ours pauses 1/{pause / ours:.0f} and takes 1/{whole / times:.0f} of it"
            )


def _measure_ours(folder: Path) -> tuple[float, float]:
    pauses, times = [], []
    meter, dumper = Meter(1, _THREADS), Dumper()
    for index in range(_ROUNDS):
        meter.longest_pause_ms()
        _, took_s = dumper.dump(meter.pid, folder / f"{index}.dmp", DumpOptions(MINI))
        times.append(took_s * 1e3)
        pauses.append(meter.longest_pause_ms())
    dumper.close()
    meter.close()
    return median(pauses), median(times)


def _measure_command(command: Callable[[int], list[str]]) -> tuple[float, float]:
    pauses, times = [], []
    meter = Meter(1, _THREADS)
    for _ in range(3):
        meter.longest_pause_ms()
        start = time.perf_counter()
        subprocess.run(
            command(meter.pid), capture_output=True, stdin=subprocess.DEVNULL, check=True
        )
        times.append((time.perf_counter() - start) * 1e3)
        pauses.append(meter.longest_pause_ms())
    meter.close()
    return median(pauses), median(times)
