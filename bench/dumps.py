"""What a dump costs the target: its pause, as the target itself sees it, beside gdb and gcore."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.common import PROGRAMS, median, own_directories
from perimortem.dump.protocol import DumpRequest
from perimortem.model.dump import MINI, DumpOptions, DumpResult
from perimortem.monitor.dump_workers import DumpWorkers
from perimortem.proc import find_process
from perimortem.system import open_selector

_ROUNDS = 7
_THREADS = 50


class _Meter:
    """A target of 50 threads that measures its own longest pause."""

    def __init__(self) -> None:
        self._popen = subprocess.Popen(
            [PROGRAMS / "pause_meter", str(_THREADS)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )  # fmt: skip
        assert self._popen.stdout is not None
        self._popen.stdout.readline()
        self.pid = self._popen.pid

    def longest_pause_ms(self) -> float:
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._popen.stdin.write("\n")
        self._popen.stdin.flush()
        return float(self._popen.stdout.readline())

    def close(self) -> None:
        self._popen.kill()
        self._popen.communicate()


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
    meter = _Meter()
    process = find_process(meter.pid)
    selector = open_selector()
    workers = DumpWorkers(selector, 60)
    workers.warm_up()
    for i in range(_ROUNDS):
        time.sleep(0.3)  # the spare warms up, as it does in a monitor
        meter.longest_pause_ms()
        results: list[DumpResult] = []
        start = time.perf_counter()
        request = DumpRequest(process, folder / f"{i}.dmp", DumpOptions(MINI), 1 << 30)
        workers.request(request, results.append, time.monotonic_ns())
        while not results:
            for call in selector.wait(1):
                call(time.monotonic_ns())
        times.append((time.perf_counter() - start) * 1e3)
        assert results[0].path, results[0].error
        pauses.append(meter.longest_pause_ms())
    workers.close()
    selector.close()
    meter.close()
    return median(pauses), median(times)


def _measure_command(command: Callable[[int], list[str]]) -> tuple[float, float]:
    pauses, times = [], []
    meter = _Meter()
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
