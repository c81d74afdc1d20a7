"""Directories of one case, and the command line as a user runs it there."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import json
import os
import signal
import subprocess
import time
from collections import Counter
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from perimortem.errors import MalformedInput
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile
from perimortem.store.database import Store

from .processes import await_true
from .row import Played

ROOT = Path(__file__).resolve().parent.parent.parent
PROGRAMS = ROOT / "tests" / "programs" / "bin"
COMMAND = (sys.executable, "-m", "perimortem")
_PATIENCE_S = 60.0
_RECOVERY_S = 10.0
"""A monitor that is ended before it has read all recorders leaves the rest to the next one."""


class Place:
    """Store, run directory and cache below ``base``."""

    def __init__(self, base: Path, **environment: str) -> None:
        self.base = base
        self.data_dir = base / "data"
        self.run_dir = base / "run"
        self.store_path = self.data_dir / "incidents.db"
        self.environment = {
            **os.environ,
            "PERIMORTEM_DATA_DIR": str(self.data_dir),
            "PERIMORTEM_RUN_DIR": str(self.run_dir),
            "PERIMORTEM_CACHE_DIR": str(base / "cache"),
            "PERIMORTEM_DUMPS_PER_HOUR": "100000",
            "PERIMORTEM_INCIDENTS_PER_HOUR": "100000",
            **environment,
        }
        self.prefix: list[str] = []
        """What starts each command of :meth:`start`."""
        self.before_start: Callable[[], None] | None = None
        """Called in the process of each command of :meth:`start`."""
        self._said = base / "nothing"

    def call(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end. Raises TimeoutExpired."""
        options = {"env": self.environment, "timeout": _PATIENCE_S, **options}
        return subprocess.run(
            [*COMMAND, *map(str, arguments)], capture_output=True, text=True, check=False, **options
        )

    def start(
        self, *arguments: object, before: Sequence[str] = (), **options: Any
    ) -> subprocess.Popen[str]:
        """``before``: what starts it, strace for example."""
        options = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, **options}
        return subprocess.Popen(
            [*self.prefix, *before, *COMMAND, *map(str, arguments)],
            env=self.environment,
            text=True,
            preexec_fn=self.before_start,
            **options,
        )

    def start_monitor(self) -> subprocess.Popen[str] | None:
        """One that serves; None if it ended before. It reports to a file: no one reads a pipe."""
        self._said = self.base / f"monitor-{time.monotonic_ns()}"
        with open(self._said, "w") as file:
            monitor = self.start("monitor", stderr=file)
        await_true(lambda: "serving" in self.read_said() or monitor.poll() is not None, _PATIENCE_S)
        return monitor if monitor.poll() is None else None

    def read_said(self) -> str:
        """What the last monitor that was started has reported."""
        return self._said.read_text(errors="replace")

    def end_monitor(self, monitor: subprocess.Popen[str]) -> str:
        """As a service manager does; returns what it has reported.

        Raises RuntimeError if it does not end."""
        end_monitor(monitor, monitor.pid)
        return self.read_said()

    def recover(self, by: str = "run") -> None:
        """What the next command of that name brings in. Raises RuntimeError."""
        if by == "run":
            result = self.call("run", "-q", "--", "true")
            if result.returncode != 0:
                raise RuntimeError(f"the next run failed: {result.stderr[-300:]}")
            return
        monitor = self.start_monitor()
        if monitor is None:
            raise RuntimeError("the next monitor did not start")
        await_true(lambda: not list(self.run_dir.glob("*.rec")), _RECOVERY_S)
        self.end_monitor(monitor)

    def list_incidents(self) -> list[dict[str, Any]]:
        """Raises RuntimeError with what the command said."""
        result = self.call("list", "--all", "--json")
        if result.returncode != 0:
            raise RuntimeError(f"list failed: {result.stderr[-300:]}")
        rows: list[dict[str, Any]] = json.loads(result.stdout)
        return rows

    def count_incidents(self) -> int:
        """Also of those that are too many for a list."""
        with Store(self.data_dir / "incidents.db") as store:
            return len(store.list_incidents(with_clean=True, limit=1 << 30))

    def note_pause(self, played: Played) -> float:
        """The longest pause of a monitor's loop, in ms; 0 if all were short."""
        with Store(self.data_dir / "incidents.db") as store:
            longest = store.find_longest_pause(0)
        pause_ms = 0.0 if longest is None else longest.pause_s * 1e3
        played.worst["longest pause of the loop, ms"] = round(pause_ms)
        return pause_ms

    def check_reported(self, played: Played, pids: dict[int, str | None]) -> None:
        """Each process once, with its verdict; None: any."""
        rows = self.list_incidents()
        found = Counter(row["pid"] for row in rows)
        verdicts = {row["pid"]: row["verdict"] for row in rows}
        for pid, verdict in pids.items():
            if found[pid] == 0:
                played.fail("lost", f"process {pid} is not in the store")
            elif found[pid] > 1:
                played.fail("reported twice", f"process {pid} is in the store {found[pid]} times")
            elif verdict not in (None, verdicts[pid]):
                played.fail("wrong verdict", f"process {pid} is {verdicts[pid]}, not {verdict}")

    def check_files(self, played: Played) -> None:
        """What has a final name is whole."""
        for path in (self.data_dir / "dumps").glob("*.dmp"):
            problem = _check_dump(path)
            if problem:
                played.fail("half files", f"{path.name}: {problem}")
        for folder in (self.data_dir / "spool", self.run_dir / "spool"):
            for path in folder.glob("*"):
                if path.suffix == ".unreadable":
                    played.fail("half files", f"{path}: {path.read_text()[:80]!r}")
                elif path.suffix == ".json" and not _is_json(path):
                    played.fail("half files", f"{path} is no document")


def end_monitor(started: subprocess.Popen[str], pid: int) -> None:
    """As a service manager does. ``pid``: of the monitor, which ``started`` is or has started.

    Raises RuntimeError if it does not end."""
    if started.poll() is None:
        with suppress(ProcessLookupError):  # it has just been killed
            os.kill(pid, signal.SIGTERM)
    try:
        started.communicate(timeout=_PATIENCE_S)
    except subprocess.TimeoutExpired:
        raise RuntimeError("the monitor did not end at SIGTERM") from None


def await_pid(path: Path, process: subprocess.Popen[str]) -> int | None:
    """The pid that a target wrote to ``path``; None if ``process`` ended before it did."""
    await_true(lambda: _read_pid(path) or process.poll() is not None, _PATIENCE_S)
    return _read_pid(path)


def _read_pid(path: Path) -> int | None:
    try:
        text = path.read_text()
    except OSError:
        return None
    return int(text) if text.endswith("\n") else None


def _is_json(path: Path) -> bool:
    try:
        json.loads(path.read_text())
    except ValueError:
        return False
    return True


def _check_dump(path: Path) -> str | None:
    """Why it is not a whole minidump."""
    data = path.read_bytes()
    try:
        dump = MinidumpFile(lambda at, size: data[at : at + size], len(data))
        entry = dump.find(StreamType.ThreadListStream)
        if entry is None or not dump.read_threads(entry):
            return "no threads"
    except MalformedInput as error:
        return str(error)
    return None
