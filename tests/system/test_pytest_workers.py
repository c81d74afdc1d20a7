"""Workers of pytest-xdist: the test that was running is named."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

pytestmark = pytest.mark.system

XDIST_TESTS = """
import ctypes, os, signal, threading, time
import pytest

@pytest.mark.parametrize("i", range(8))
def test_fine(i):
    time.sleep(0.02)

def test_faults():
    signal.signal(signal.SIGSEGV, signal.SIG_DFL)
    ctypes.string_at(0)

def test_vanishes():
    ctypes.CDLL(None)._exit(0)
"""


def run_pytest(perimortem, folder, *options, tests):
    (folder / "test_some.py").write_text(tests)
    perimortem.environment |= {"PYTEST_ADDOPTS": ""}
    return perimortem.report(
        sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", "-n4", "--rootdir", folder,
        folder / "test_some.py", options=options,
    )  # fmt: skip


def test_a_pytest_worker_that_vanishes_names_its_test(perimortem, tmp_path):
    pytest.importorskip("xdist")
    report = run_pytest(perimortem, tmp_path, tests=XDIST_TESTS)
    assert report["_status"] == 1
    named = {p["labels"].get("PYTEST_CURRENT_TEST", ""): p for p in report["processes"]}
    faulted = next(p for test, p in named.items() if test.endswith("::test_faults"))
    assert faulted["verdict"] == "crash"
    assert faulted["labels"]["PYTEST_XDIST_WORKER"].startswith("gw")
    vanished = next(p for test, p in named.items() if test.endswith("::test_vanishes"))
    assert "_exit called in" in vanished["where"]["text"]
    assert "in test_some.py::test_" in report["_stderr"]


def test_a_pytest_worker_that_hangs_names_its_test(perimortem, tmp_path):
    pytest.importorskip("xdist")
    tests = (
        "import time, pytest\n"
        "@pytest.mark.parametrize('i', range(6))\n"
        "def test_fine(i): time.sleep(0.02)\n"
        "def test_hangs(): time.sleep(6)\n"
    )
    report = run_pytest(
        perimortem, tmp_path, "--threshold", "pytest=2", "--no-stacks", "--dump-type", "none",
        tests=tests,
    )  # fmt: skip
    assert report["_status"] == 0
    (hung,) = [p for p in report["processes"] if p["id"] and p["pid"] != report["target"]["pid"]]
    shown = json.loads(perimortem.call("show", hung["id"], "--json").stdout)
    assert [b["name"] for b in shown["hangs"][0]["stopped"]] == ["pytest"]
    assert shown["hangs"][0]["recovered_at"]


def test_the_plugin_does_nothing_without_a_monitor(tmp_path, perimortem):
    (tmp_path / "test_one.py").write_text("def test_one(): pass\n")
    result = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:cacheprovider", tmp_path / "test_one.py"],
        capture_output=True, text=True, env=perimortem.env,
    )  # fmt: skip
    assert result.returncode == 0, result.stdout + result.stderr
    assert not perimortem.run_dir.exists()
