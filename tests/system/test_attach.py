"""Programs that attach themselves: the monitor is found or started, and ends with the last one."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest
from conftest import ROOT, await_true, read_line_with

pytestmark = pytest.mark.system

ATTACH = (
    "import perimortem, os, sys; g = perimortem.spawn_and_attach(); print(g.error, flush=True); "
)


def incidents(perimortem):
    return json.loads(perimortem.call("list", "--json", "--all").stdout)


def list_monitors(perimortem):
    """Pids of monitors that serve this test's directory; not of what they are just starting."""
    wanted = f"PERIMORTEM_RUN_DIR={perimortem.run_dir}".encode()
    found = {}
    for name in filter(str.isdecimal, os.listdir("/proc")):
        try:
            words = Path(f"/proc/{name}/cmdline").read_bytes().split(b"\0")
            if b"monitor" in words and wanted in Path(f"/proc/{name}/environ").read_bytes():
                stat = Path(f"/proc/{name}/stat").read_text()
                found[int(name)] = int(stat.rpartition(")")[2].split()[1])
        except OSError:
            continue
    return [pid for pid, parent_pid in found.items() if parent_pid not in found]


@pytest.fixture(autouse=True)
def no_monitor_is_left(perimortem):
    yield
    for pid in list_monitors(perimortem):
        os.kill(pid, signal.SIGKILL)


def run_python(perimortem, code, **options):
    return subprocess.run(
        [sys.executable, "-c", code], env=perimortem.env, capture_output=True, text=True,
        timeout=60, **options,
    )  # fmt: skip


def test_the_monitor_is_started_and_ends_with_the_last_program(perimortem):
    result = run_python(perimortem, ATTACH + "import ctypes; ctypes.string_at(16)")
    assert result.returncode == -signal.SIGSEGV
    assert (result.stdout, result.stderr) == ("\n", "")
    await_true(lambda: not list_monitors(perimortem))
    (incident,) = incidents(perimortem)
    shown = json.loads(perimortem.call("show", "--json", incident["number"]).stdout)
    assert (shown["verdict"], shown["exit"]["signal_name"]) == ("crash", "SIGSEGV")
    assert "SIGSEGV at 0x10" in shown["where"]["text"]
    assert Path(shown["dumps"][0]["path"]).exists()
    assert not list(perimortem.run_dir.glob("*.sock"))


def test_a_released_program_is_watched_no_more_and_its_signals_are_its_own(perimortem):
    code = ATTACH + ("import signal\ng.release(); g.release()\nimport ctypes; ctypes.string_at(16)")
    assert run_python(perimortem, code).returncode == -signal.SIGSEGV
    await_true(lambda: not list_monitors(perimortem))
    assert incidents(perimortem) == []


def test_many_programs_at_once_have_one_monitor_that_goes_on_after_a_dump(perimortem):
    def start(code):
        return subprocess.Popen(
            [sys.executable, "-c", ATTACH + code], env=perimortem.env, text=True,
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
        )  # fmt: skip

    programs = [start("sys.stdin.read(); import ctypes; ctypes.string_at(16)") for _ in range(6)]
    for program in programs:
        assert program.stdout.readline() == "\n"
    await_true(lambda: len(list_monitors(perimortem)) == 1)  # the others find it served
    for program in programs:
        _, stderr = program.communicate("", timeout=60)
        assert program.returncode == -signal.SIGSEGV, stderr
    await_true(lambda: not list_monitors(perimortem))
    assert [i["verdict"] for i in incidents(perimortem)] == ["crash"] * 6


def test_a_missing_monitor_is_reported_once_and_the_crash_is_kept_for_later(perimortem):
    code = (
        "import perimortem\n"
        "for _ in range(3):\n"
        "    g = perimortem.spawn_and_attach(monitor_command=('/nonexistent/monitor',),"
        " connect_timeout=0.3)\n"
        "print(g.error)\n"
        "import ctypes; ctypes.string_at(16)"
    )
    result = run_python(perimortem, code)
    assert result.returncode == -signal.SIGSEGV
    assert result.stderr.count("perimortem:") == 1
    assert "no monitor answers" in result.stdout
    # The next monitor reports it.
    monitor = perimortem.start("monitor")
    read_line_with(monitor.stderr, "CRASH  python")
    await_true(lambda: incidents(perimortem))
    monitor.send_signal(signal.SIGINT)
    monitor.communicate(timeout=30)
    (incident,) = incidents(perimortem)
    assert incident["verdict"] == "crash"
    assert not list(perimortem.run_dir.glob("*.rec"))


def test_a_second_monitor_is_refused_in_one_line(perimortem):
    first = perimortem.start("monitor")
    assert "serving" in first.stderr.readline()
    second = perimortem.call("monitor")
    assert second.returncode == 1
    assert second.stderr.count("\n") == 1
    assert "serves" in second.stderr
    first.send_signal(signal.SIGTERM)
    first.wait(timeout=20)
    assert not list(perimortem.run_dir.glob("*.sock"))


def test_a_killed_monitor_is_replaced_and_its_programs_are_taken_up_again(perimortem):
    program = subprocess.Popen(
        [sys.executable, "-c", ATTACH + "sys.stdin.read(); import ctypes; ctypes.string_at(16)"],
        env=perimortem.env, text=True, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert program.stdout.readline() == "\n"
    (pid,) = list_monitors(perimortem)
    os.kill(pid, signal.SIGKILL)
    await_true(lambda: not list_monitors(perimortem))
    monitor = perimortem.start("monitor", "--exit-when-idle")
    assert "serving" in monitor.stderr.readline()
    program.communicate("", timeout=60)
    _, stderr = monitor.communicate(timeout=60)
    assert "CRASH  python" in stderr
    assert ".dmp" in stderr


def test_a_monitor_without_programs_never_wakes(perimortem):
    monitor = perimortem.start("monitor")
    assert "serving" in monitor.stderr.readline()
    status = Path(f"/proc/{monitor.pid}/status")

    def switches():
        lines = [line for line in status.read_text().splitlines() if "ctxt_switches" in line]
        return sum(int(line.split()[1]) for line in lines)

    def is_still():
        before = switches()
        time.sleep(0.5)
        return switches() == before

    await_true(is_still)
    before = switches()
    time.sleep(3)
    assert switches() == before
    monitor.send_signal(signal.SIGINT)
    monitor.wait(timeout=20)


@pytest.mark.skipif(not shutil.which("cmake"), reason="cmake is not installed")
def test_the_examples_build_by_cmake_and_pkg_config_and_crash_well(perimortem, tmp_path):
    prefix, build = tmp_path / "prefix", tmp_path / "build"

    def call(*argv, status=0, **environment):
        result = subprocess.run(
            argv, capture_output=True, text=True, env=perimortem.env | environment, timeout=100
        )
        assert result.returncode == status, result.stdout + result.stderr
        return result

    call("cmake", "-S", ROOT / "native", "-B", build, f"-DCMAKE_INSTALL_PREFIX={prefix}")
    call("cmake", "--build", build)
    call("cmake", "--install", build)
    for name in ("attach-c", "attach-cpp"):
        shutil.copytree(ROOT / "examples" / name, tmp_path / name)
    cpp = tmp_path / "attach-cpp"
    call("cmake", "-S", cpp, "-B", cpp / "build", f"-DCMAKE_PREFIX_PATH={prefix}")
    call("cmake", "--build", cpp / "build")
    (found,) = prefix.rglob("perimortem.pc")
    call("make", "-C", tmp_path / "attach-c", PKG_CONFIG_PATH=str(found.parent))

    path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
    assert "frame 2" in call(cpp / "build" / "render", "3", PATH=path).stdout
    call(cpp / "build" / "render", "7", status=-signal.SIGABRT, PATH=path)
    assert "170 tiles" in call(tmp_path / "attach-c" / "resize", "3", PATH=path).stdout
    call(tmp_path / "attach-c" / "resize", "0", status=-signal.SIGFPE, PATH=path)
    await_true(lambda: not list_monitors(perimortem))
    ends = {i["name"]: i for i in incidents(perimortem) if i["verdict"] == "crash"}
    assert set(ends) == {"render", "resize"}
    for incident in ends.values():
        shown = json.loads(perimortem.call("show", "--json", incident["number"]).stdout)
        assert shown["dumps"][0]["path"], shown


def test_a_program_under_run_that_removes_its_handler_is_watched_on(perimortem):
    """It is watched because `run` was asked to, not because it attached itself."""
    code = (
        "import os, perimortem, time\n"
        "guard = perimortem.spawn_and_attach()\n"
        "assert not guard.error, guard.error\n"
        "guard.release()\n"
        "time.sleep(1.5)\n"  # longer than the interval in which children are reaped
        "raise SystemExit(3)"
    )
    report = perimortem.report(sys.executable, "-c", code)
    assert (report["_status"], report["exit"]["code"]) == (3, 3), report["_stderr"]
    assert report["verdict"] == "failed-exit"
