"""Stacks and reasons as a user on Windows gets them: of a live process, and of a crash."""

from __future__ import annotations

import json

from perimortem.winapi.process import read_suspend_count
from perimortem.winapi.system_processes import list_threads


def test_stacks_of_a_live_process(perimortem, start):
    program = start("terminated")
    result = perimortem.call("stack", program.pid, "--json")
    assert result.returncode == 0, result.stderr
    document = json.loads(result.stdout)
    assert {thread["tid"] for thread in document["threads"]} == set(list_threads(program.pid))
    functions = [frame["function"] for thread in document["threads"] for frame in thread["frames"]]
    assert "wmain" in functions
    assert program.popen.poll() is None
    assert all(read_suspend_count(tid) == 0 for tid in list_threads(program.pid))
    text = perimortem.call("stack", program.pid).stdout
    assert "wmain" in text


def test_why_and_where_of_a_crash(perimortem, programs):
    report = perimortem.report(programs / "crash_beating.exe")
    examination = report["examination"]
    assert "null pointer" in examination["reason"]["text"]
    crashed = next(thread for thread in examination["threads"] if thread["crashed"])
    assert crashed["frames"][0]["module"] == "crash_beating.exe"
    page = perimortem.base / "page.html"
    assert perimortem.call("show", "1", "--html", page).returncode == 0
    assert "null pointer" in page.read_text(encoding="utf-8")
