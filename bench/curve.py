"""``python -m bench.curve``: dump costs by threads and by size, drawn into docs/performance.svg."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from bench.common import median, own_directories
from bench.meter import Dumper, Meter
from perimortem.model.dump import FULL, MINI, DumpOptions, Pause

_THREADS = (10, 30, 100, 300, 1000, 3000, 10_000)
_MEBIBYTES = (10, 32, 100, 320, 1024, 3200, 8192)
_ROUNDS, _OFTEN_UP_TO = 3, 1024
"""More takes too long to do three times."""
_TARGET = Path(__file__).resolve().parent.parent / "docs" / "performance.svg"

Curve = list[tuple[float, float]]


def measure_threads() -> dict[str, Curve]:
    """By number of threads: pause and total time of a mini dump, in ms."""
    curves: dict[str, Curve] = {"pause": [], "until it is on disk": []}
    for count in _THREADS:
        _measure(curves, Meter(1, count), count, {"": DumpOptions(MINI)})
    return curves


def measure_sizes() -> dict[str, Curve]:
    """By MiB of memory: pause and total time of a full dump, in ms."""
    curves: dict[str, Curve] = {}
    for size in _MEBIBYTES:
        if shutil.disk_usage(tempfile.gettempdir()).free < 4 * size << 20:
            print(f"no room for {size} MiB, left out", flush=True)
            continue
        options = {f"{p}: ": DumpOptions(FULL, p) for p in (Pause.STOP, Pause.SNAPSHOT)}
        _measure(curves, Meter(size, 1), size, options)
        huge = {"snapshot, huge pages: ": DumpOptions(FULL, Pause.SNAPSHOT)}
        _measure(curves, Meter(size, 1, is_huge=True), size, huge)
    return curves


def _measure(
    curves: dict[str, Curve], meter: Meter, x: float, ways: dict[str, DumpOptions]
) -> None:
    dumper = Dumper()
    with own_directories(), tempfile.TemporaryDirectory() as directory:
        for name, options in ways.items():
            pauses, times = [], []
            for index in range(_ROUNDS if x <= _OFTEN_UP_TO else 1):
                path = Path(directory) / f"{index}.dmp"
                result, took_s = dumper.dump(meter.pid, path, options)
                pauses.append(result.target_paused_ms)
                times.append(took_s * 1e3)
                path.unlink()
            curves.setdefault(f"{name}pause", []).append((x, median(pauses)))
            curves.setdefault(f"{name}until it is on disk", []).append((x, median(times)))
            print(f"{x:g} {name or 'mini: '}pause {median(pauses):.1f} ms, {median(times):.0f} ms")
    dumper.close()
    meter.close()


def draw(threads: dict[str, Curve], sizes: dict[str, Curve]) -> None:
    import matplotlib as mpl

    mpl.use("svg")
    from matplotlib import pyplot

    pyplot.rcParams["svg.hashsalt"] = "perimortem"
    figure, (left, right) = pyplot.subplots(1, 2, figsize=(11, 4.2), layout="constrained")
    for axes, curves, label in (
        (left, threads, "threads (mini dump)"),
        (right, sizes, "MiB of private memory (full dump)"),
    ):
        for name, points in curves.items():
            style = "-" if name.endswith("pause") else "--"
            axes.loglog(
                [x for x, _ in points], [y for _, y in points], style, marker=".", label=name
            )
        axes.set_xlabel(label)
        axes.set_ylabel("ms")
        axes.grid(visible=True, which="major", alpha=0.3)
        axes.legend(fontsize=8)
    figure.savefig(_TARGET, metadata={"Date": None})


def main() -> int:
    threads, sizes = measure_threads(), measure_sizes()
    draw(threads, sizes)
    print(_TARGET)
    return 0


if __name__ == "__main__":
    sys.exit(main())
