"""A pytest fixture for tests of native programs: put it into your conftest.py.

A program that crashes or hangs fails its test with the reason and the place, not with "exit status -11".
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path

import pytest

import perimortem

GOOD = ("clean-exit", "failed-exit", "stopped")


@pytest.fixture()
def run_native(tmp_path: Path) -> Callable[..., perimortem.Report]:
    """run_native(ARGV...): the report of a program that neither crashed nor hung."""

    def run(*argv: object) -> perimortem.Report:
        with open(tmp_path / "output.txt", "wb") as output:
            report = perimortem.run(
                [str(argument) for argument in argv], threshold_s=20, on_hang="abort", stdout=output
            ).report
        if report.verdict not in GOOD:
            why = report.examination and report.examination.reason
            pytest.fail(
                f"{report.target.name}: {report.exit.text}\n"
                f"  {why.text if why else report.who.text}\n"
                f"  {report.where.text if report.where else ''}",
                pytrace=False,
            )
        return report

    return run


def self_test(programs: Path) -> None:
    tests = f"""
from native_fixture import run_native

def test_good(run_native):
    assert run_native({str(programs / "clean")!r}).exit.code == 0

def test_bad(run_native):
    run_native({str(programs / "crash_null")!r})
"""
    with tempfile.TemporaryDirectory() as folder:
        (Path(folder) / "test_native.py").write_text(tests)
        result = subprocess.run(
            [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", folder],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parent)},
        )
    assert "1 failed, 1 passed" in result.stdout, result.stdout + result.stderr
    assert "null pointer" in result.stdout, result.stdout
    print(json.dumps({"ok": True}))


if __name__ == "__main__":
    self_test(Path(sys.argv[2]))
