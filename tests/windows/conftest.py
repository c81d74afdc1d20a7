"""Tests that need Windows, or Wine: `make test-windows` runs them. Elsewhere they are not collected."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

collect_ignore_glob = [] if sys.platform == "win32" else ["test_*.py"]


def find_programs() -> Path:
    """The folder of the cross-built test programs."""
    given = os.environ.get("PERIMORTEM_TEST_PROGRAMS", "")
    path = Path(given)
    if not given or not (path / "crash_null.exe").exists():
        pytest.fail("the test programs are not built: make test-windows")
    return path


@pytest.fixture(scope="session")
def programs() -> Path:
    return find_programs()


@dataclass
class Program:
    """A started test program that has said that it is ready."""

    popen: subprocess.Popen[str]
    first_line: str

    @property
    def pid(self) -> int:
        return self.popen.pid


@pytest.fixture()
def start(programs: Path, perimortem: object) -> Iterator[Callable[..., Program]]:
    """start(name, *arguments): a program that has printed its first line."""
    started: list[subprocess.Popen[str]] = []

    def begin(name: str | Path, *arguments: object) -> Program:
        path = name if isinstance(name, Path) else programs / f"{name}.exe"
        popen = subprocess.Popen(
            [str(path), *map(str, arguments)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            text=True,
            env=perimortem.env,  # type: ignore[attr-defined]
        )
        started.append(popen)
        assert popen.stdout
        return Program(popen, popen.stdout.readline().strip())

    yield begin
    for popen in started:
        if popen.poll() is None:
            popen.kill()
        popen.wait()
        if popen.stdout:
            popen.stdout.close()
