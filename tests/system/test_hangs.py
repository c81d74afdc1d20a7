"""Hangs of real programs: reported, dumped, recovered, and never blamed on a healthy process."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from pathlib import Path

import pytest
from conftest import await_true, read_line_with

pytestmark = pytest.mark.system

GIL_HELD = """
import ctypes, time, perimortem
with perimortem.attach("trainer", threshold=0.4) as hb:
    hb.beat(); hb.emit("train.step", step=3)
    ctypes.PyDLL(None).usleep(2_500_000)  # a native call that keeps the GIL
    for _ in range(30):
        hb.beat(); time.sleep(0.02)
"""


def test_a_hang_that_recovers_stands_in_a_clean_exit(perimortem, programs):
    report = perimortem.report(programs / "hang_once", 0.3, 1.2, options=("--no-stacks",))
    assert (report["verdict"], report["_status"]) == ("clean-exit", 0)
    (hang,) = report["hangs"]
    assert hang["recovered_at"] is not None
    assert len(report["dumps"]) == 1


def test_each_hang_is_reported_and_dumped_once(perimortem, programs):
    report = perimortem.report(programs / "hang_many", 3, 0.15, 1.0, options=("--no-stacks",))
    assert len(report["hangs"]) == 3
    assert len({dump["path"] for dump in report["dumps"]}) == 3
    assert all(hang["recovered_at"] for hang in report["hangs"])


def test_a_deadlock_is_seen_by_the_heartbeats_of_its_threads(perimortem, programs):
    process = perimortem.start("run", "--", programs / "hang_deadlock")
    line = read_line_with(process.stderr, "HANG")
    assert "left" in line
    assert "right" in line
    account = read_line_with(process.stderr, "still beating")
    assert "process" in account
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert "HANG" in stderr
    assert process.returncode == 143


def test_python_held_by_a_native_call(perimortem):
    report = perimortem.report(
        sys.executable, "-c", GIL_HELD, options=("--threshold", "python=1.5", "--no-stacks")
    )
    assert report["verdict"] == "clean-exit"
    (hang,) = report["hangs"]
    assert {beat["name"] for beat in hang["stopped"]} == {"trainer", "python"}
    assert hang["still_beating"][0] == "process"
    assert report["last_event"]["payload"] == {"step": 3}


def test_stacks_are_in_the_account(perimortem, programs):
    process = perimortem.start("run", "--", programs / "hang_once", 0.3)
    read_line_with(process.stderr, "stacks")
    assert "hang_once.c" in read_line_with(process.stderr, "main at")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    number = json.loads(perimortem.call("list", "--json").stdout)[0]["number"]
    shown = json.loads(perimortem.call("show", number, "--json").stdout)
    assert "hang_once.c" in shown["hangs"][0]["stacks"]


@pytest.mark.parametrize(
    ("how", "hangs"), [("none", 1), ("pause", 0), ("extend", 0), ("retire", 0)]
)
def test_an_announced_silence_is_not_a_hang(perimortem, programs, how, hangs):
    report = perimortem.report(programs / "pause_extend", how, options=("--dump-type", "none"))
    assert report["verdict"] == "clean-exit"
    assert len(report["hangs"]) == hangs


def test_a_forked_child_does_not_beat_for_its_parent(perimortem, programs):
    process = perimortem.start(
        "run", "--dump-type", "none", "--no-stacks", "--", programs / "fork_child"
    )
    assert "main" in read_line_with(process.stderr, "HANG")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)


def count_waits(pid):
    status = Path(f"/proc/{pid}/status").read_text()
    return int(status.split("voluntary_ctxt_switches:")[1].split()[0])


def test_a_stopped_monitor_blames_no_process(perimortem, programs):
    """SIGSTOP to the monitor for longer than the threshold; the target beats all the while."""
    process = perimortem.start(
        "run", "--threshold", "0.5", "--report", perimortem.base / "r.json",
        "--", programs / "beats", "main", "0.5",
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    waits = count_waits(process.pid)
    await_true(lambda: count_waits(process.pid) > waits + 2)  # it has sampled, and waits for more
    process.send_signal(signal.SIGSTOP)
    await_true(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "T")
    time.sleep(1.5)  # the length of the stop is what is tested
    process.send_signal(signal.SIGCONT)
    time.sleep(0.5)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    report = json.loads((perimortem.base / "r.json").read_text())
    assert (report["verdict"], report["hangs"]) == ("stopped", [])
    assert any("stopped or starved" in e["fact"] for e in report["evidence"])


def test_a_hang_is_kept_when_the_monitor_is_killed(perimortem, programs):
    process = perimortem.start("run", "--no-stacks", "--", programs / "hang_once", 0.3)
    read_line_with(process.stderr, "dump")
    (target,) = [
        int(pid)
        for pid in Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
        if Path(f"/proc/{pid}/comm").read_text().strip() == "hang_once"
    ]
    process.kill()
    process.wait()
    try:
        (row,) = json.loads(perimortem.call("list", "--json").stdout)
        assert (row["verdict"], row["has_dump"]) == ("hang", True)
        assert Path(f"/proc/{target}/stat").read_text().split()[2] == "S"  # alive and not stopped
    finally:
        os.kill(target, signal.SIGKILL)


def test_a_stopped_program_is_a_hang_that_says_so_even_without_an_agent(perimortem, programs):
    """SIGSTOP to a static program; seen from outside, dumped while it is stopped, and left so."""
    process = perimortem.start(
        "run", "--threshold", "process=1.5", "--no-stacks", "--report", perimortem.base / "r.json",
        "--", "sh", "-c", f"echo ready; exec {programs}/static_program 0 & exec sleep 60",
    )  # fmt: skip
    assert process.stdout.readline() == "ready\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")

    def find():
        names = {pid: Path(f"/proc/{pid}/comm").read_text() for pid in children.read_text().split()}
        return next((int(pid) for pid, name in names.items() if name == "sleep\n"), None)

    await_true(find)
    target = find()
    os.kill(target, signal.SIGSTOP)
    assert "no beat of process" in read_line_with(process.stderr, "HANG")
    assert "stopped by a signal" in read_line_with(process.stderr, "hang ")
    assert Path(f"/proc/{target}/stat").read_text().split()[2] == "T"
    os.kill(target, signal.SIGCONT)
    assert "recovered" in read_line_with(process.stderr, "recovered")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    report = json.loads((perimortem.base / "r.json").read_text())
    assert report["verdict"] == "stopped"
    assert report["hangs"][0]["recovered_at"] is not None
    assert report["dumps"][0]["path"]


def test_our_own_freeze_is_no_hang(perimortem, programs):
    """A full dump holds the target longer than its other heartbeat's threshold.

    A compressed one: that takes its time of the processor, and nearly nothing of the disk."""
    perimortem.environment["PERIMORTEM_COMPRESS"] = "1"
    process = perimortem.start(
        "run", "--dump-type", "full", "--no-stacks", "--report", perimortem.base / "r.json",
        "--", programs / "hang_beside_healthy",
    )  # fmt: skip
    process.communicate(timeout=60)
    report = json.loads((perimortem.base / "r.json").read_text())
    (hang,) = report["hangs"]
    assert report["dumps"][0]["target_paused_ms"] > 300
    assert [beat["name"] for beat in hang["stopped"]] == ["hung"]
    assert "healthy" in hang["still_beating"]


def test_a_monitor_that_is_stopped_during_a_hang_reports_it_once(perimortem, programs):
    """Absent for 2.5 s, three times: the heartbeat has not beaten for that."""
    process = perimortem.start(
        "run", "--no-stacks", "--report", perimortem.base / "r.json",
        "--", programs / "hang_once", "0.5",
    )  # fmt: skip
    read_line_with(process.stderr, "next ")  # the hang's report is printed
    for _ in range(3):
        waits = count_waits(process.pid)
        await_true(lambda waits=waits: count_waits(process.pid) > waits + 2)
        process.send_signal(signal.SIGSTOP)
        await_true(lambda: Path(f"/proc/{process.pid}/stat").read_text().split()[2] == "T")
        time.sleep(2.5)  # the length of the stop is what is tested
        process.send_signal(signal.SIGCONT)
    waits = count_waits(process.pid)
    await_true(lambda: count_waits(process.pid) > waits + 4)
    process.send_signal(signal.SIGTERM)
    _, stderr = process.communicate(timeout=30)
    assert "recovered" not in stderr
    assert "HANG  hang_once" not in stderr.split("HANG  hang_once", 1)[0]
    report = json.loads((perimortem.base / "r.json").read_text())
    assert len(report["hangs"]) == 1
    assert len(report["dumps"]) == 1
    assert any(e["code"] == "deadlines-reset" for e in report["evidence"])


@pytest.mark.parametrize(
    ("policy", "number"), [("abort", signal.SIGABRT), ("kill", signal.SIGKILL)]
)
def test_the_policy_ends_the_tree_of_a_wrapper(perimortem, programs, policy, number):
    """What hangs is not the command but its child, which outlived it."""
    report = perimortem.report(
        "timeout", "60", programs / "hang_once", "0.3", options=("--on-hang", policy, "--no-stacks")
    )
    assert report["_status"] == 124
    (child,) = report["processes"][1:]
    assert child["exit"]["signal"] == number
    assert child["ended_at"] is not None
    assert report["who"]["kind"] == "perimortem"
    assert not Path(f"/proc/{child['pid']}").exists()


@pytest.mark.parametrize("wrapper", [("timeout", "60"), ("sh", "-c", '"$@"; :', "sh")])
def test_what_hangs_is_the_program_and_not_its_wrapper(perimortem, wrapper):
    """By a heartbeat of the whole tree: the program is dumped, and named first."""
    options = ("--threshold", "3", "--beat-from", "progress", "--on-hang", "kill", "--no-stacks")
    report = perimortem.report(*wrapper, "sleep", "600", options=options)
    (child,) = report["processes"][1:]
    assert f"HANG  sleep[{child['pid']}] under {wrapper[0]}[" in report["_stderr"]
    assert [Path(dump["path"]).name.split("-")[0] for dump in report["dumps"]] == ["sleep"]
    assert child["exit"]["signal"] == signal.SIGKILL
    assert report["_status"] == 124


def test_run_exits_with_124_when_the_policy_ended_members(perimortem, programs):
    """The command itself takes the end of its child as it comes, and succeeds."""
    script = f"{programs}/hang_once 0.3 & wait; exit 0"
    report = perimortem.report(
        "sh", "-c", f"trap '' TERM; {script}", options=("--on-hang", "abort", "--no-stacks")
    )
    assert (report["_status"], report["exit"]["code"]) == (124, 0)
