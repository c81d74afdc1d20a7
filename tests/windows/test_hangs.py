"""Hangs: reported, dumped, followed to their end; of beats, of suspension, of a window."""

from __future__ import annotations

from conftest import await_true, read_line_with

from perimortem.proc import find_process
from perimortem.winapi.process import read_suspend_count
from perimortem.winapi.system_processes import list_threads


def test_a_hang_is_reported_dumped_and_ended_as_requested(perimortem, programs):
    report = perimortem.report(programs / "hang_once.exe", options=("--on-hang", "kill"))
    assert report["_status"] == 124
    assert report["verdict"] == "hang"
    (hang,) = report["hangs"]
    assert hang["stopped"][0]["name"] == "render"
    assert "process" in hang["still_beating"]
    assert report["last_event"]["name"] == "render.stuck"
    (dump,) = report["dumps"]
    assert dump["path"] is not None, dump["error"]
    assert dump["thread_count"] == 2
    assert report["who"]["kind"] == "perimortem"
    assert report["exit"]["kind"] == "terminated"


def test_a_hang_that_is_over_is_reported_as_recovered(perimortem, programs):
    options = ("--dump-type", "none")
    report = perimortem.report(programs / "recovers.exe", options=options)
    assert report["verdict"] == "clean-exit"
    assert report["hangs"][0]["recovered_at"] is not None


def test_a_suspended_process_is_a_hang_of_process(perimortem, programs):
    report = perimortem.report(
        programs / "suspended.exe", options=("--threshold", "process=1.5", "--on-hang", "kill")
    )
    (hang,) = report["hangs"]
    assert hang["stopped"][0]["name"] == "process"
    assert hang["state"] == "all its threads were suspended"
    assert report["verdict"] == "hang"


def test_the_dump_leaves_a_suspended_target_suspended(perimortem, start):
    program = start("suspended")
    (tid,) = list_threads(program.pid)
    await_true(lambda: read_suspend_count(tid) == 1)
    result = perimortem.call("dump", program.pid, "-o", perimortem.base / "x.dmp")
    assert result.returncode == 0, result.stderr
    assert read_suspend_count(tid) == 1


def test_a_window_that_does_not_answer(perimortem, programs):
    report = perimortem.report(
        programs / "hung_window.exe",
        options=("--beat-from", "window", "--threshold", "window=1.5", "--on-hang", "kill"),
    )
    (hang,) = report["hangs"]
    assert [beat["name"] for beat in hang["stopped"]] == ["window"]
    assert "'a window that hangs' did not answer" in hang["state"]


def test_sources_that_windows_does_not_have_are_refused(perimortem, programs):
    for source in ("sd-notify", "output"):
        result = perimortem.call("run", "--beat-from", source, "--", programs / "beats.exe")
        assert result.returncode == 2, result.stderr
        assert f"--beat-from {source} is not available" in result.stderr


def test_watch_waits_for_the_end_and_reports_it(perimortem, start):
    program = start("terminated")
    watch = perimortem.start("watch", program.pid)
    read_line_with(watch.stderr, "watching terminated.exe")
    program.popen.kill()
    account = watch.stderr.read()
    assert watch.wait(30) == 0
    assert "KILLED" in account
    assert "TerminateProcess with code 1" in account


def test_watch_by_name_waits_for_it(perimortem, start, programs, tmp_path):
    import shutil

    program = tmp_path / "AwaitedApp.exe"
    shutil.copy(programs / "waits.exe", program)
    watch = perimortem.start("watch", "--name", "awaitedapp.exe")
    read_line_with(watch.stderr, "a process named awaitedapp.exe is not running; waiting for it")
    started = start(program)
    read_line_with(watch.stderr, f"watching AwaitedApp.exe[{started.pid}]")
    started.popen.kill()
    assert watch.wait(30) == 0


def test_strict_progress_sees_a_waiting_process(perimortem, programs):
    report = perimortem.report(
        programs / "waits.exe",
        options=("--beat-from", "progress", "--threshold", "progress=2", "--on-hang", "kill"),
    )
    assert [b["name"] for b in report["hangs"][0]["stopped"]] == ["progress"]


def test_find_process_names_what_is_gone(start):
    program = start("waits")
    assert find_process(program.pid).pid == program.pid
