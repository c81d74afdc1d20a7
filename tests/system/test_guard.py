"""The guard against reports that do harm: the same crash again and again, a thousand at once."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path

import pytest

pytestmark = pytest.mark.system


def dumps_of(perimortem):
    return list((perimortem.data_dir / "dumps").glob("*.dmp"))


def test_a_crash_loop_is_dumped_three_times_and_counted(perimortem, programs):
    reports = [perimortem.report(programs / "crash_null") for _ in range(5)]
    assert [len(report["dumps"]) for report in reports] == [1, 1, 1, 0, 0]
    assert (
        "not dumped: the same was dumped 3 times in the last hour" in reports[4]["soft_errors"][0]
    )
    other = perimortem.report(programs / "crash_in_thread")
    assert len(other["dumps"]) == 1
    assert len(json.loads(perimortem.call("list", "--json").stdout)) == 6


def test_settings_bound_it(perimortem, programs):
    perimortem.environment = {"PERIMORTEM_DUMPS_PER_HOUR": "1", "PERIMORTEM_MAX_USE": "300K"}
    first = perimortem.report(programs / "crash_null")
    assert first["dumps"] == []
    assert "not dumped: the store is full (max-use)" in first["soft_errors"][0]
    shown = json.loads(perimortem.call("config", "--json").stdout)
    assert shown["dumps-per-hour"] == {"value": 1, "origin": "PERIMORTEM_DUMPS_PER_HOUR"}


def test_vacuum_removes_the_oldest_and_keeps_the_newest_of_a_kind(perimortem, programs):
    for name in ("crash_null", "crash_null", "crash_null", "crash_in_thread"):
        perimortem.report(programs / name)
    before = {path.name for path in dumps_of(perimortem)}
    assert len(before) == 4
    plan = json.loads(perimortem.call("vacuum", "--max-use", "1K", "--dry-run", "--json").stdout)
    assert len(plan["removed"]) == 2
    assert {path.name for path in dumps_of(perimortem)} == before
    result = perimortem.call("vacuum", "--max-use", "1K")
    assert "2 dumps removed" in result.stderr
    left = {path.name for path in dumps_of(perimortem)}
    assert before - left == {Path(one["path"]).name for one in plan["removed"]}
    shown = perimortem.call("show", 1)
    assert "removed: the store keeps its limits" in shown.stdout


def test_vacuum_by_age(perimortem, programs):
    import os

    for _ in range(2):
        perimortem.report(programs / "crash_null")
    for age_s, path in zip((200_000, 100_000), sorted(dumps_of(perimortem)), strict=True):
        os.utime(path, (time.time() - age_s, time.time() - age_s))
    assert "1 dumps removed" in perimortem.call("vacuum", "--max-age", "1d").stderr


def test_a_thousand_crashes_at_once_keep_the_budget(perimortem, programs):
    """All are recorded, the monitor lives, its memory and the store stay within their bounds."""
    count, budget = 1000, 200 << 20
    perimortem.environment = {"PERIMORTEM_MAX_USE": "200M"}
    report_path = perimortem.base / "report.json"
    command = perimortem.start(
        "run", "-q", "--report", report_path, "--", programs / "crash_many", count, 200
    )
    peak_kib = 0
    most_bytes = 0
    status = Path(f"/proc/{command.pid}/status")
    while command.poll() is None:
        try:
            text = status.read_text()
        except OSError:
            break
        if "VmHWM:" in text:
            peak_kib = max(peak_kib, int(text.split("VmHWM:")[1].split()[0]))
        used = sum(path.stat().st_size for path in perimortem.data_dir.rglob("*") if path.is_file())
        most_bytes = max(most_bytes, used)
        time.sleep(0.05)
    stdout, stderr = command.communicate(timeout=60)
    assert stdout == f"{count}\n", stderr
    report = json.loads(report_path.read_text())
    crashed = [p for p in report["processes"][1:] if p["verdict"] == "crash"]
    assert len(crashed) == count
    assert (
        sum("SIGILL in crash_many+0x" in (p["where"] or {"text": ""})["text"] for p in crashed)
        == count
    )
    assert peak_kib < 150 << 10
    assert most_bytes <= budget
    assert dumps_of(perimortem)
    assert not list((perimortem.data_dir / "dumps").glob(".*.partial"))


def test_the_fourth_crash_alike_is_explained_without_its_own_dump(perimortem, programs):
    for _ in range(3):
        perimortem.report(programs / "faults", "null-field")
    report = perimortem.report(programs / "faults", "null-field")
    assert report["dumps"] == []
    assert "null pointer" in report["examination"]["reason"]["text"]
    (note,) = [note for note in report["soft_errors"] if note.startswith("not dumped")]
    assert "3 times in the last hour, first for incident 1 (setting dumps-per-hour)" in note
    assert len(dumps_of(perimortem)) == 3
    assert not list((perimortem.data_dir / "dumps").glob(".*"))


def test_two_programs_of_one_interpreter_do_not_share_their_dumps(perimortem, tmp_path):
    perimortem.environment = {"PERIMORTEM_DUMPS_PER_HOUR": "1"}
    for name in ("first.py", "second.py"):
        (tmp_path / name).write_text("import ctypes; ctypes.string_at(16)")
        report = perimortem.report(sys.executable, tmp_path / name)
        assert len(report["dumps"]) == 1
