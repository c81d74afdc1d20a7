"""Very many processes at once, or one after another.

Cases: clients:COUNT (attached programs that crash at once), children:COUNT (of a command, killed at
once), lives:COUNT (processes that live for a moment), forks:LIMIT (a fork bomb in a cgroup of so many).
"""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import json
import os
import resource
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from .cgroup import PidsGroup, why_no_group
from .place import Place, await_pid
from .processes import await_quiet, read_memory_mb
from .row import Plan, Played, Row
from .scenarios import TARGET

_CHILDREN = """
import os, signal, sys
count = int(sys.argv[1])
children, (here, there) = [], os.pipe()
for _ in range(count):
    pid = os.fork()
    if pid == 0:
        os.write(there, b".")
        signal.pause()
    children.append(pid)
while count:  # each has run
    count -= len(os.read(here, count))
for pid in children:
    os.kill(pid, signal.SIGKILL)
for pid in children:
    os.waitpid(pid, 0)
"""
_LIVES = "i=0; while [ $i -lt {count} ]; do /bin/true; i=$((i+1)); done"
_FORKS = "bomb() { bomb 2>/dev/null & bomb 2>/dev/null & }; bomb; sleep 3; kill -SEGV $$"
_PATIENCE_S = 300.0
_MONITORS_MAX = 10
"""That may be needed to read all recorders, if each has ten seconds. Arbitrary."""


class Storm(Row):
    name = "storm"
    title = "very many processes"
    zeros = ("not recorded", "reported twice", "target harmed", "failed")
    jobs = 1

    def list_cases(self, plan: Plan) -> Iterator[str]:
        """Each once."""
        if plan.is_short:
            yield from ("clients:50", "children:200", "lives:500", "forks:100")
        else:
            yield from ("clients:1000", "children:2000", "lives:10000", "forks:400")

    def play(self, case: str) -> Played:
        kind, _, count = case.partition(":")
        if kind == "forks" and (why := why_no_group(PidsGroup)):
            return Played(not_tried=why)
        played = Played()
        with tempfile.TemporaryDirectory(prefix="faults-") as folder:
            place = Place(Path(folder), PERIMORTEM_DUMPS_PER_HOUR="3")
            begin = time.monotonic()
            _KINDS[kind](place, int(count), played)
            played.worst[f"{kind}, s"] = round(time.monotonic() - begin, 1)
            place.check_files(played)
            place.note_pause(played)
        return played


class _Peak(threading.Thread):
    """The largest memory of a process, until it ends."""

    def __init__(self, pid: int) -> None:
        super().__init__(daemon=True)
        self._pid = pid
        self.mb = 0.0
        self.start()

    def run(self) -> None:
        while (now_mb := read_memory_mb(self._pid, "VmHWM")) > 0:
            self.mb = now_mb
            time.sleep(0.05)


def _crash_clients(place: Place, count: int, played: Played) -> None:
    """All wait for one pipe."""
    monitor = place.start_monitor()
    if monitor is None:
        raise RuntimeError("the monitor did not start")
    peak = _Peak(monitor.pid)
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    read_end, write_end = os.pipe()
    targets = []
    for number in range(count):
        pid_file = place.base / f"pid-{number}"
        target = subprocess.Popen(
            [str(TARGET), str(pid_file), "crash", "attach"], env=place.environment, text=True,
            stdin=read_end, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        targets.append((target, pid_file))
    os.close(read_end)
    pids = [await_pid(pid_file, target) for target, pid_file in targets]
    begin = time.monotonic()
    os.close(write_end)
    for target, _ in targets:
        if target.wait(_PATIENCE_S) != -11:
            played.fail("target harmed", f"status {target.returncode}")
    played.worst["until the last of the clients had ended, s"] = round(time.monotonic() - begin, 1)
    said = place.end_monitor(monitor)
    await_quiet(_PATIENCE_S)
    for _ in range(_MONITORS_MAX):
        place.recover("monitor")  # the first one was ended before it had done everything
        await_quiet(_PATIENCE_S)
        if len(place.list_incidents()) >= count:
            break
    if "Traceback" in said:
        played.fail("failed", said[-1000:])
    played.worst["clients, MB"] = round(peak.mb, 1)
    found = Counter(row["pid"] for row in place.list_incidents())
    for pid in pids:
        if found[pid] != 1:
            figure = "reported twice" if found[pid] else "not recorded"
            played.fail(figure, f"process {pid}: {found[pid]} rows")
    played.add("crashes at once", count)


def _watch(place: Place, name: str, played: Played, *argv: str) -> dict[str, Any]:
    """The report of `run`."""
    path = place.base / "report.json"
    run = place.start("run", "-q", "--report", path, "--", *argv)
    peak = _Peak(run.pid)
    run.wait(_PATIENCE_S)
    played.worst[f"{name}, MB"] = round(peak.mb, 1)
    if not path.exists():
        raise RuntimeError(f"no report; status {run.returncode}")
    report: dict[str, Any] = json.loads(path.read_text())
    return report


def _kill_children(place: Place, count: int, played: Played) -> None:
    report = _watch(place, "children", played, sys.executable, "-c", _CHILDREN, str(count))
    _check_count(report, count + 1, played)
    played.add("children killed at once", count)


def _live_shortly(place: Place, count: int, played: Played) -> None:
    report = _watch(place, "lives", played, "sh", "-c", _LIVES.format(count=count))
    _check_count(report, count + 1, played)
    played.add("short lives", count)


def _check_count(report: dict[str, Any], least: int, played: Played) -> None:
    if report["process_count"] < least:
        what = f"{report['process_count']} of {least} processes are in the report"
        played.fail("not recorded", what)
    if report["exit"]["code"] != 0:
        played.fail("target harmed", f"{report['verdict']}, {report['exit']}")


def _bomb(place: Place, limit: int, played: Played) -> None:
    """The end of the command must be recorded, however many there are."""
    group = PidsGroup(limit)
    place.before_start = group.enter
    try:
        path = place.base / "report.json"
        run = place.start("run", "-q", "--report", path, "--", "bash", "-c", _FORKS)
        peak = _Peak(run.pid)
        run.wait(_PATIENCE_S)
        played.worst["forks, MB"] = round(peak.mb, 1)
    finally:
        group.remove()
    place.before_start = None
    place.recover()
    await_quiet(_PATIENCE_S)
    verdicts = [row["verdict"] for row in place.list_incidents() if row["name"] == "bash"]
    if not verdicts:  # which one is a question of what could still be started in the group
        played.fail("not recorded", "the end of the command")
    played.add("fork bombs")


_KINDS: dict[str, Callable[[Place, int, Played], None]] = {
    "clients": _crash_clients,
    "children": _kill_children,
    "lives": _live_shortly,
    "forks": _bomb,
}
