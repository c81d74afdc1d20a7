"""All stacks of a process, beside gdb and eu-stack."""

from __future__ import annotations

import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.common import median, own_directories
from bench.meter import Meter
from perimortem.examine.options import ExamineOptions
from perimortem.examine.process import examine_process
from perimortem.proc import find_process
from perimortem.symbols.files import ImageLibrary

_THREADS = 50
_ROUNDS = 9


def measure() -> Iterator[str]:
    with own_directories():
        yield from _measure_stacks()


def _measure_stacks() -> Iterator[str]:
    meter = Meter(1, _THREADS)
    pid = str(meter.pid)
    command = [str(Path(sys.executable).with_name("perimortem")), "stack", pid]
    commands: dict[str, list[str]] = {  # those that a peer is ahead of come first
        "perimortem stack": command,
        "perimortem stack --no-lines": [*command, "--no-lines"],
        "gdb -batch -ex 'thread apply all bt'": [
            "gdb", "-nx", "-batch", "-p", pid, "-ex", "thread apply all bt",
        ],
        "eu-stack": ["eu-stack", "-p", pid],
    }  # fmt: skip
    ways: dict[str, Callable[[], None]] = {
        name: lambda argv=argv: _run(argv)
        for name, argv in commands.items()
        if shutil.which(argv[0])
    }
    ways["an examiner that is warm"] = lambda: _examine_live(meter.pid, library)
    times: dict[str, list[float]] = {name: [] for name in ways}
    with ImageLibrary() as library:
        for round_ in range(_ROUNDS + 1):
            for name, call in ways.items():
                start = time.perf_counter()
                call()
                if round_:  # the first warms up
                    times[name].append((time.perf_counter() - start) * 1e3)
    meter.close()
    found = {name: median(values) for name, values in times.items()}
    gdb, eu_stack = found.get("gdb -batch -ex 'thread apply all bt'"), found.get("eu-stack")
    for name, value in found.items():
        beside = [
            f"1/{other / value:.1f} of {words}'s"
            if other > value
            else f"{value / other:.1f} times {words}'s"
            for words, other in (("gdb", gdb), ("eu-stack", eu_stack))
            if other is not None and name.startswith(("perimortem", "an examiner"))
        ]
        yield f"all stacks of {_THREADS} threads, {name}: {value:.1f} ms" + (
            f", {', '.join(beside)}" if beside else ""
        )


def _examine_live(pid: int, library: ImageLibrary) -> None:
    options = ExamineOptions(library, with_lines=False)
    with examine_process(find_process(pid), options) as examination:
        assert sum(len(stack.frames) for stack in examination.stacks) > 3 * _THREADS


def _run(argv: list[str]) -> None:
    subprocess.run(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, check=False)
