"""Why a program hangs, by two looks at its threads."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from pathlib import Path

import pytest
from conftest import await_true, read_line_with

pytestmark = pytest.mark.system

OPTIONS = ("--no-stacks", "--dump-type", "none", "--on-hang", "kill")


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
        ("busy", "busy", "busy: thread hang_kinds ("),
        ("busy_thread", "busy", "busy: thread spinner ("),
        ("lock", "lock", "mutex"),
        ("network", "network", "waits for the network: thread hang_kinds ("),
        ("pipe", "waiting", "read of descriptor"),
        ("sleep", "waiting", "clock_nanosleep"),
        ("vfork", "waiting", "a child (vfork)"),
        ("stopped", "stopped", "SIGCONT lets it run on"),
        ("starved", "starved", "starved of CPU"),
    ],
)
def test_the_kind_of_a_hang(perimortem, programs, how, kind, words):
    report = perimortem.report(programs / "hang_kinds", how, options=OPTIONS)
    hang = report["hangs"][0]
    assert (report["verdict"], hang["kind"]) == ("hang", kind), hang
    assert words in hang["state"]
    assert hang["stopped"][0]["name"] == "work"
    assert hang["threads"][0]["tid"] == report["target"]["pid"]
    assert any("two looks 1" in e["fact"] for e in report["evidence"])


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
def test_a_process_that_a_debugger_holds(perimortem, programs):
    """gdb stops it, and waits."""
    report_path = perimortem.base / "r.json"
    command = perimortem.start(
        "run", "-q", *OPTIONS, "--report", report_path, "--",
        "sh", "-c", 'echo $$; exec "$0" busy', programs / "hang_kinds",
    )  # fmt: skip
    pid = int(command.stdout.readline())
    gdb = subprocess.Popen(
        ["gdb", "-q", "-batch", "-p", str(pid), "-ex", "shell sleep 20"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        command.wait(timeout=60)
    finally:
        gdb.kill()
        gdb.wait()
    import json

    report = json.loads(report_path.read_text())
    assert report["hangs"][0]["kind"] == "traced"


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.mark.skipif(
    os.geteuid() != 0 or not FREEZER.is_dir(), reason="no cgroup freezer (version 1) to use"
)
@pytest.mark.parametrize("does", ["while :; do :; done", "exec sleep 60"])
def test_a_frozen_cgroup(perimortem, does):
    """Who runs sleeps in the kernel's refrigerator; who slept before sleeps on where it was."""
    group = FREEZER / f"perimortem-test-{os.getpid()}"
    group.mkdir()
    command = perimortem.start(
        "run", "--no-stacks", "--dump-type", "none", "--threshold", "process=1.5", "--",
        "sh", "-c", f"echo $$; {does}",
    )  # fmt: skip
    pid = int(command.stdout.readline())
    try:
        (group / "cgroup.procs").write_text(str(pid))
        (group / "freezer.state").write_text("FROZEN")
        assert "no beat of process" in read_line_with(command.stderr, "HANG")
        account = read_line_with(command.stderr, "  hang ")
        assert "frozen by its cgroup" in account
        assert "disk" not in account
    finally:
        (group / "freezer.state").write_text("THAWED")
        command.terminate()
        command.communicate(timeout=60)
        await_true(lambda: not (group / "cgroup.procs").read_text().strip() or time.sleep(0.05))
        group.rmdir()
