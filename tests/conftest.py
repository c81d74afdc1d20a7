"""What every test may use: real programs, and the command line run as a user runs it."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from hypothesis import settings

ROOT = Path(__file__).resolve().parent.parent
PROGRAMS = ROOT / "tests" / "programs" / "bin"
SHARED_DUMPS = ROOT.parent / "shared" / "dumps" / "breakpad"
"""Dumps of other writers, where they lie beside the repository; made-up ones: ``synthetic_dumps``."""
needs_dumps = pytest.mark.skipif(
    not SHARED_DUMPS.is_dir(), reason="Breakpad's dumps are not beside the project"
)
_SHARED = sorted(SHARED_DUMPS.glob("*.dmp"))
each_shared_dump = pytest.mark.parametrize("path", _SHARED, ids=[path.stem for path in _SHARED])
"""Without any dump there the test is skipped, and says so."""

# How long an example takes is the machine's business.
settings.register_profile("untimed", parent=settings.default, deadline=None)
settings.load_profile("untimed")
if sys.platform != "win32":
    # nohup ignores the first, a shell's `&` the others; and what a program ignores its children do.
    signal.signal(signal.SIGHUP, signal.SIG_DFL)
    signal.signal(signal.SIGINT, signal.default_int_handler)
    signal.signal(signal.SIGQUIT, signal.SIG_DFL)


@pytest.fixture(scope="session")
def programs() -> Path:
    """The folder of the built test programs."""
    if not (PROGRAMS / "clean").exists():
        pytest.fail("the test programs are not built: make programs")
    return PROGRAMS


@dataclass
class Perimortem:
    """The command line with its own directories."""

    base: Path
    environment: dict[str, str] = field(default_factory=dict)
    started: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def run_dir(self) -> Path:
        return self.base / "run"

    @property
    def data_dir(self) -> Path:
        return self.base / "data"

    @property
    def env(self) -> dict[str, str]:
        own = {
            "PERIMORTEM_RUN_DIR": str(self.run_dir),
            "PERIMORTEM_DATA_DIR": str(self.data_dir),
            "PERIMORTEM_CACHE_DIR": str(self.base / "cache"),
        }
        return {**without_pytest(os.environ), **own, **self.environment}

    def call(self, *arguments: object, **options: Any) -> subprocess.CompletedProcess[str]:
        """Run a command to its end."""
        return subprocess.run(
            [sys.executable, "-m", "perimortem", *map(str, arguments)],
            capture_output=True,
            text=True,
            env=self.env,
            timeout=200,
            **options,
        )

    def start(self, *arguments: object, **options: Any) -> subprocess.Popen[str]:
        """Start a command; it is ended with the test."""
        options = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **options}
        process = subprocess.Popen(
            [sys.executable, "-m", "perimortem", *map(str, arguments)],
            text=True,
            env=self.env,
            **options,
        )
        self.started.append(process)
        return process

    def report(self, *argv: object, options: tuple[object, ...] = ()) -> dict[str, Any]:
        """The report of `run` on a command."""
        path = self.base / f"report-{time.monotonic_ns()}.json"
        result = self.call("run", "-q", *options, "--report", path, "--", *argv)
        assert path.exists(), result.stderr
        document: dict[str, Any] = json.loads(path.read_text())
        document["_status"] = result.returncode
        document["_stderr"] = result.stderr
        return document


@pytest.fixture()
def perimortem(tmp_path: Path) -> Iterator[Perimortem]:
    command = Perimortem(tmp_path)
    yield command
    for process in command.started:
        if process.poll() is None:
            process.kill()
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()


@dataclass
class Program:
    """A started test program that has said that it is ready."""

    popen: subprocess.Popen[str]
    first_line: str

    @property
    def pid(self) -> int:
        return self.popen.pid

    def stat(self) -> list[str]:
        text = Path(f"/proc/{self.pid}/stat").read_text()
        return [str(self.pid), *text.rpartition(")")[2].split()]

    @property
    def state(self) -> str:
        return self.stat()[1]


@pytest.fixture()
def start(programs: Path, perimortem: Perimortem) -> Iterator[Any]:
    """start(name, *arguments): a program that has printed its first line."""
    started: list[subprocess.Popen[str]] = []

    def begin(name: str | list[str], *arguments: object, **options: Any) -> Program:
        argv = name if isinstance(name, list) else [str(programs / name), *map(str, arguments)]
        options = {"env": perimortem.env, **options}
        popen = subprocess.Popen(argv, stdout=subprocess.PIPE, text=True, **options)
        started.append(popen)
        assert popen.stdout
        return Program(popen, popen.stdout.readline().strip())

    yield begin
    for popen in started:
        if popen.poll() is None:
            popen.send_signal(signal.SIGKILL)
        popen.wait()
        for pipe in (popen.stdin, popen.stdout):
            if pipe:
                pipe.close()


def without_pytest(environment: Mapping[str, str]) -> dict[str, str]:
    """What pytest and its workers set shows as labels of processes, and as the width of terminals."""
    return {
        name: value
        for name, value in environment.items()
        if not name.startswith("PYTEST_") and name not in ("COLUMNS", "LINES")
    }


def let_others_in(path: Path) -> None:
    """Lets other users reach files below pytest's own folder, at any depth."""
    base = Path(tempfile.gettempdir()).resolve()
    for folder in (path, *path.parents):
        if folder == base or base not in folder.parents:
            break
        folder.chmod(0o755)


def await_true(condition: Any, seconds: float = 60.0) -> None:
    """Until something that a running program will do has been done."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "it did not happen in time"
        time.sleep(0.005)


def read_line_with(stream: Any, text: str) -> str:
    """The next line that holds ``text``."""
    for line in stream:
        if text in line:
            return str(line)
    raise AssertionError(f"{text!r} was never said")


def list_dumped(perimortem: Perimortem) -> list[dict[str, Any]]:
    """Incidents that have their dump: each is in the store before that."""
    rows: list[dict[str, Any]] = json.loads(perimortem.call("list", "--json").stdout)
    return [row for row in rows if row["has_dump"]]


def find_python(version: str) -> Path:
    """On the path, or among the versions of pyenv; a test without it is skipped."""
    root = Path(os.environ.get("PYENV_ROOT", Path.home() / ".pyenv"))
    kept = sorted(root.glob(f"versions/{version}.*/bin/python{version}"))
    found = kept[-1] if kept else shutil.which(f"python{version}")
    if found is None:
        pytest.skip(f"there is no Python {version} on this machine")
    return Path(found).resolve()


@pytest.fixture
def begin(perimortem):
    """begin(argv): the first process of a tree that has said "ready"; all of it is ended."""
    started = []

    def start(argv, **options):
        options = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, **options}
        process = subprocess.Popen(argv, start_new_session=True, env=perimortem.env, **options)
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe:
                pipe.close()


@pytest.fixture
def look(perimortem):
    def look(pid):
        result = perimortem.call("waits", "--tree", pid, "--json")
        assert result.returncode == 0, result.stderr
        return json.loads(result.stdout)

    return look
