"""The agent in a Python program, and what the monitor makes of its ends."""

from __future__ import annotations

import sys

import pytest

ATTACH = "import perimortem, sys, os, time, threading; s = perimortem.attach('trainer', 0.5); "


def run(perimortem, code, *options):
    return perimortem.report(sys.executable, "-c", ATTACH + code, options=options)


@pytest.mark.parametrize(
    ("code", "verdict", "status"),
    [
        ("s.beat()", "clean-exit", 0),
        ("sys.exit(3)", "failed-exit", 3),
        ("raise RuntimeError('no')", "failed-exit", 1),
        ("os._exit(4)", "failed-exit", 4),
        ("os.kill(os.getpid(), 5)", "killed", 5),
    ],
)
def test_ends(code, verdict, status, perimortem):
    report = run(perimortem, code)
    assert (report["verdict"], report["exit"]["code"]) == (verdict, status)
    assert {beat["name"] for beat in report["heartbeats"]} >= {"trainer", "python", "process"}


def test_exit_from_another_thread_is_named(perimortem):
    report = run(perimortem, "threading.Thread(target=os._exit, args=(6,)).start(); time.sleep(60)")
    assert report["verdict"] == "silent-crash"
    assert report["where"]["text"].startswith("ExitProcess called in python3")


def test_beats_events_and_a_hang(perimortem):
    code = "s.beat(); s.emit('epoch', number=3, name='ß'); time.sleep(60)"
    report = run(perimortem, code, "--on-hang", "kill", "--dump-type", "none")
    assert report["verdict"] == "hang"
    (hang,) = report["hangs"]
    assert [beat["name"] for beat in hang["stopped"]] == ["trainer"]
    assert "python" in hang["still_beating"]
    assert report["last_event"]["payload"] == {"number": 3, "name": "ß"}
    stats = [e["payload"] for e in report["recent_events"] if e["name"] == "system.stats"]
    assert stats[-1]["threads"] >= 2


def test_pause_and_extend(perimortem):
    code = "s.pause(); time.sleep(1.2); s.resume(); s.extend(5); time.sleep(1.2); s.beat()"
    report = run(perimortem, code)
    assert (report["verdict"], report["hangs"]) == ("clean-exit", [])


def test_without_a_directory_the_program_runs_on(perimortem, tmp_path):
    (tmp_path / "file").write_text("")
    perimortem.environment = {"PERIMORTEM_RUN_DIR": str(tmp_path / "file" / "below")}
    code = "s.beat(); print(bool(s.error))"
    result = perimortem.call("doctor")
    assert "cannot create the run directory" in result.stdout
    import subprocess

    done = subprocess.run(
        [sys.executable, "-c", ATTACH + code], env=perimortem.env, capture_output=True, text=True,
    )  # fmt: skip
    assert (done.returncode, done.stdout.strip()) == (0, "True")
