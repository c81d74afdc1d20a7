"""For a time under load: healthy programs must not be called hung, and a service must not grow.

Cases: programs:RUNS:SECONDS (tools/soak.py), service:SECONDS (a monitor whose clients crash, one after
another), year:DAYS (tests/unit/year.py: a manual clock). An hour and a year: --only service:3600 and
--only year:365.
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import os
import random
import re
import subprocess
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

from .place import ROOT, Place, await_pid
from .processes import await_true, read_memory_mb
from .row import Plan, Played, Row
from .scenarios import TARGET

_PAUSE_MAX_MS = 50.0
"""Of the loop, without the time in which it had no processor; in the long form only, since the short one
runs beside other tests."""
_LONG_S = 60.0
_GAIN_MAX_MB = 8.0
"""After the first fifth of the time, in which caches fill. Arbitrary."""


class Soak(Row):
    name = "soak"
    title = "healthy programs on a loaded machine, and a service that goes on"
    zeros = ("false hangs", "missed hangs", "grows", "pauses too long", "not recorded", "failed")
    jobs = 1

    def list_cases(self, plan: Plan) -> Iterator[str]:
        """Load takes its time: the short form has none."""
        yield "service:5" if plan.is_short else "service:60"
        if not plan.is_short:
            yield "year:30"
            yield "programs:24:12"

    def play(self, case: str) -> Played:
        kind, *rest = case.split(":")
        played = Played()
        if kind == "programs":
            _run_programs(*rest, played=played)
        elif kind == "year":
            _play_year(rest[0], played)
        else:
            with tempfile.TemporaryDirectory(prefix="faults-") as folder:
                _serve(Place(Path(folder), PERIMORTEM_DUMPS_PER_HOUR="3"), float(rest[0]), played)
        return played


def _run_programs(runs: str, seconds: str, *, played: Played) -> None:
    argv = [sys.executable, "tools/soak.py", runs, seconds]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    *hangs, last = ran.stdout.splitlines() or [""]
    if not re.match(r"\d+ runs of", last):
        played.fail("failed", ran.stderr[-1000:])
        return
    played.add("healthy programs", float(runs))
    for hang in hangs:
        played.fail("false hangs", hang)


def _play_year(days: str, played: Played) -> None:
    argv = [sys.executable, "tests/unit/year.py", days, str(random.randrange(1 << 31))]
    ran = subprocess.run(argv, cwd=ROOT, capture_output=True, text=True, check=False)
    *found, last = ran.stdout.splitlines() or [""]
    if " days: " not in last:
        played.fail("failed", ran.stderr[-1000:])
        return
    played.add("days of a manual clock", float(days))
    for line in found:
        played.fail(
            "false hangs" if line.startswith("false") else "missed hangs", f"{argv}: {line}"
        )


def _serve(place: Place, seconds: float, played: Played) -> None:
    monitor = place.start_monitor()
    if monitor is None:
        raise RuntimeError("the monitor did not start")
    begin = time.monotonic()
    crashes = _crash_until(place, begin + seconds / 5, 0)
    first_mb, first_descriptors = read_memory_mb(monitor.pid), _count_descriptors(monitor.pid)
    crashes = _crash_until(place, begin + seconds, crashes)
    await_true(lambda: _count_descriptors(monitor.pid) <= first_descriptors, 20)
    gain_mb = read_memory_mb(monitor.pid) - first_mb
    gained = _count_descriptors(monitor.pid) - first_descriptors
    place.end_monitor(monitor)
    played.add("crashes served", crashes)
    played.worst["memory gained, MB"] = round(gain_mb, 1)
    played.worst["descriptors gained"] = gained
    if gain_mb > _GAIN_MAX_MB or gained > 0:
        played.fail("grows", f"{gain_mb:.1f} MB, {gained} descriptors in {crashes} crashes")
    if place.note_pause(played) > _PAUSE_MAX_MS and seconds >= _LONG_S:
        played.fail("pauses too long", f"{played.worst}")
    recorded = place.count_incidents()
    if recorded != crashes:
        played.fail("not recorded", f"{recorded} of {crashes}")


def _crash_until(place: Place, due_s: float, count: int) -> int:
    while time.monotonic() < due_s:
        pid_file = place.base / f"pid-{count}"
        target = subprocess.Popen(
            [str(TARGET), str(pid_file), "crash", "attach"], text=True, env=place.environment,
            stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        if await_pid(pid_file, target) is None:
            raise RuntimeError("the target did not start")
        target.communicate("\n", timeout=60)
        count += 1
    return count


def _count_descriptors(pid: int) -> int:
    return len(os.listdir(f"/proc/{pid}/fd"))
