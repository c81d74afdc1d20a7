"""Why a program hangs, by two samples of its threads."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import time
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from conftest import await_true, read_line_with

pytestmark = pytest.mark.system

OPTIONS = ("--no-stacks", "--dump-type", "none", "--on-hang", "kill")


@pytest.mark.parametrize(
    ("how", "kind", "words"),
    [
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
    assert any("two samples " in e["fact"] for e in report["evidence"])


def read_share(report, hang):
    """The share of a processor that the loop had between the two samples, by its own reports."""
    first = datetime.fromisoformat(hang["detected_at"])
    facts = "\n".join(e["fact"] for e in report["evidence"])
    apart_ms = int(re.search(r"two samples (\d+) ms apart", facts)[1])
    second = first + timedelta(milliseconds=apart_ms)
    rows = [
        (datetime.fromisoformat(event["at"]), event["payload"]["cpu_ms"])
        for event in report["recent_events"]
        if event["name"] == "ran"
    ]
    begin = max((row for row in rows if row[0] <= first), default=rows[0])
    end = min((row for row in rows if row[0] >= second), default=rows[-1])
    return (end[1] - begin[1]) / ((max(end[0], second) - begin[0]) / timedelta(milliseconds=1))


@pytest.mark.parametrize(("how", "name"), [("busy", "hang_kinds"), ("busy_thread", "spinner")])
def test_a_loop_is_busy_unless_others_had_the_processor(perimortem, programs, how, name):
    report = perimortem.report(programs / "hang_kinds", how, options=OPTIONS)
    hang = report["hangs"][0]
    share = read_share(report, hang)
    # The marks of the product, 30 % and half, with room for what the clocks of the two disagree.
    possible = {"busy"} if share > 0.6 else {"starved"} if share < 0.1 else {"busy", "starved"}
    assert (report["verdict"], hang["kind"] in possible) == ("hang", True), (share, hang)
    phrase = {"busy": "busy", "starved": "starved of CPU"}[hang["kind"]]
    assert f"{phrase}: thread {name} (" in hang["state"]


@pytest.mark.skipif(not shutil.which("gdb"), reason="gdb is not installed")
def test_a_process_that_a_debugger_holds(perimortem, programs):
    """gdb stops it, and waits: until then it beats, however long gdb takes to come."""
    command = perimortem.start(
        "run", "--no-stacks", "--dump-type", "none", "--",
        "sh", "-c", 'echo $$; exec "$0" work 0.5', programs / "beats",
    )  # fmt: skip
    pid = int(command.stdout.readline())
    assert command.stdout.readline() == "ready\n"
    gdb = subprocess.Popen(
        ["gdb", "-q", "-batch", "-p", str(pid), "-ex", "shell cat"],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, stdin=subprocess.PIPE,
    )  # fmt: skip
    try:
        read_line_with(command.stderr, "held by a debugger")
    finally:
        gdb.communicate(timeout=60)  # the end of its input: it lets go, and exits
    command.terminate()
    command.communicate(timeout=60)


FREEZER = Path("/sys/fs/cgroup/freezer")


@pytest.mark.skipif(
    os.geteuid() != 0 or not FREEZER.is_dir(), reason="no cgroup freezer (version 1) to use"
)
@pytest.mark.parametrize("does", ["while :; do :; done", "exec sleep 60"])
def test_a_frozen_cgroup(perimortem, does):
    """A running thread is put into the kernel's refrigerator; a sleeping one stays where it was."""
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
