"""Full dumps of a large process: its pause, its speed meanwhile and after, throughput, our own memory.

Beside gcore, and beside dd of the same bytes to the same disk.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from bench.common import median, own_directories
from bench.meter import Dumper, Meter
from perimortem.model.dump import FULL, DumpFormat, DumpOptions, Pause

MEBIBYTES = 2048
_THREADS = 50
_ROUNDS = 3


def measure() -> Iterator[str]:
    with own_directories(), tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        for is_huge in (False, True):
            yield from _measure_pauses(folder, is_huge=is_huge)
        yield from _measure_throughput(folder)
        yield from _measure_memory(folder)


def _measure_pauses(folder: Path, *, is_huge: bool) -> Iterator[str]:
    pages = "huge pages" if is_huge else "4 KiB pages"
    yield f"2 GiB in {pages}, 50 threads; the target's own clock, median of {_ROUNDS}:"
    gcores, ours = [], {pause: [] for pause in (Pause.STOP, Pause.SNAPSHOT)}
    slowdowns: dict[str, list[float]] = {"before": [], "during": [], "after": []}
    lost: list[int] = []
    dumper = Dumper()
    for _ in range(_ROUNDS):
        meter = Meter(MEBIBYTES, _THREADS, is_huge=is_huge)
        slowdowns["before"].append(meter.write_all_ms())
        meter.longest_pause_ms()
        _gcore(meter.pid, folder)
        gcores.append(meter.longest_pause_ms())
        for pause, pauses in ours.items():
            huge_before = meter.huge_mebibytes()
            meter.longest_pause_ms()
            path = folder / "d.dmp"
            dumper.dump(meter.pid, path, DumpOptions(FULL, pause))
            pauses.append(meter.longest_pause_ms())
            path.unlink()
            if pause is Pause.SNAPSHOT:
                slowdowns["after"].append(meter.write_all_ms())
                slowdowns["during"].append(_write_during(dumper, meter, path))
                lost.append(huge_before - meter.huge_mebibytes())
        meter.close()
    dumper.close()
    gcore = median(gcores)
    for pause, pauses in ours.items():
        yield f"  --pause {pause}: {median(pauses):.1f} ms, 1/{gcore / median(pauses):.1f} of gcore's"
    yield f"  gcore: {gcore:.0f} ms"
    before, during, after = (median(slowdowns[k]) for k in ("before", "during", "after"))
    yield (
        f"  a write to every page takes {before:.0f} ms; while a snapshot is copied {during:.0f} ms "
        f"({during / before:.0f} times), the first after it {after:.0f} ms ({after / before:.0f} times)"
    )
    if is_huge:
        yield f"  huge pages lost by that: {median([float(m) for m in lost]):.0f} of {MEBIBYTES} MiB"


def _write_during(dumper: Dumper, meter: Meter, path: Path) -> float:
    thread = threading.Thread(
        target=lambda: dumper.dump(meter.pid, path, DumpOptions(FULL, Pause.SNAPSHOT))
    )
    thread.start()
    while not any(found.stat().st_blocks for found in path.parent.glob(".*.partial")):
        time.sleep(0.002)
    took = meter.write_all_ms()
    thread.join()
    path.unlink()
    return took


def _measure_throughput(folder: Path) -> Iterator[str]:
    """Bytes per second, alternating: the disk's speed varies."""
    meter = Meter(MEBIBYTES, _THREADS)
    dumper = Dumper()
    source, copy = folder / "source.dmp", folder / "copy"
    dumper.dump(meter.pid, source, DumpOptions(FULL))
    rates: dict[str, list[float]] = {
        "dd": [],
        "ours": [],
        "ours, core": [],
        "ours, zstd": [],
        "gcore": [],
    }
    for _ in range(_ROUNDS):
        start = time.perf_counter()
        subprocess.run(
            ["dd", f"if={source}", f"of={copy}", "bs=2M"], check=True, capture_output=True
        )
        rates["dd"].append(source.stat().st_size / (time.perf_counter() - start))
        copy.unlink()
        for name, options in (
            ("ours", DumpOptions(FULL)),
            ("ours, core", DumpOptions(FULL, format=DumpFormat.CORE)),
            ("ours, zstd", DumpOptions(FULL, compress=True)),
        ):
            _, took = dumper.dump(meter.pid, folder / "d.dmp", options)
            rates[name].append(source.stat().st_size / took)
            (folder / "d.dmp").unlink()
        start = time.perf_counter()
        size = _gcore(meter.pid, folder)
        rates["gcore"].append(size / (time.perf_counter() - start))
    dumper.close()
    meter.close()
    dd, ours = median(rates["dd"]), median(rates["ours"])
    yield f"2 GiB to the same disk by turns, median of {_ROUNDS}:"
    for name, values in rates.items():
        ratio = f", {median(values) / dd:.2f} of dd's" if name != "dd" else ""
        yield f"  {name}: {median(values) / 1e6:.0f} MB/s{ratio}"
    yield f"  ours is {ours / median(rates['gcore']):.2f} times as fast as gcore"


def _measure_memory(folder: Path) -> Iterator[str]:
    meter = Meter(MEBIBYTES, _THREADS)
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    peaks = []
    for pause in Pause:
        path = folder / f"{pause}.dmp"
        dump = ["dump", "--type", "full", "--pause", str(pause), "-o", str(path), str(meter.pid)]
        done = subprocess.run(
            [sys.executable, "-c", code, sys.executable, "-m", "perimortem", *dump],
            capture_output=True, text=True, check=True,
        )  # fmt: skip
        peaks.append(int(done.stdout) >> 10)
        path.unlink()
    meter.close()
    yield f"peak memory of the dumper at 2 GiB: {max(peaks)} MiB"


def _gcore(pid: int, folder: Path) -> int:
    """The size of the core, which is removed."""
    subprocess.run(
        ["gcore", "-o", str(folder / "core"), str(pid)],
        capture_output=True, stdin=subprocess.DEVNULL, check=True,
    )  # fmt: skip
    path = folder / f"core.{pid}"
    size = path.stat().st_size
    path.unlink()
    return size
