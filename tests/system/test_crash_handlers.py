"""The crash handler beside the handlers of the program itself: those go first, and nothing changes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest

pytestmark = pytest.mark.system


def evidence(report):
    return "\n".join(f"{e['fact']} [{e['source']}]" for e in report["evidence"])


@pytest.mark.parametrize("way", ["recover", "ask"])
def test_faults_that_the_program_takes_are_no_crashes(perimortem, programs, way):
    report = perimortem.report(programs / "crash_handlers", way)
    assert (report["verdict"], report["_status"]) == ("clean-exit", 0), report
    assert (report["dumps"], report["crash"]) == ([], None)


@pytest.mark.parametrize(
    ("way", "number"),
    [
        ("raise", signal.SIGSEGV),
        ("abort", signal.SIGABRT),
        ("fault", signal.SIGSEGV),
        ("fault_again", signal.SIGSEGV),
        ("once", signal.SIGSEGV),
        ("together", signal.SIGSEGV),
    ],
)
def test_one_report_of_the_first_fault_and_the_signal_goes_its_way(
    perimortem, programs, way, number
):
    report = perimortem.report(programs / "crash_handlers", way)
    assert (report["verdict"], report["exit"]["signal"]) == ("crash", number), report
    assert len(report["dumps"]) == 1
    assert (report["crash"]["name"], report["crash"]["address"]) == ("SIGSEGV", "0x10")
    assert "SIGSEGV at 0x10 in crash_handlers+0x" in report["where"]


def test_who_handles_a_fault_by_leaving_has_ended_of_it(perimortem, programs):
    report = perimortem.report(programs / "crash_handlers", "leave")
    assert (report["verdict"], report["_status"]) == ("crash", 40 + signal.SIGSEGV), report
    assert "SIGSEGV at 0x10" in report["where"]
    assert "a handler of the program's own took it" in evidence(report)


@pytest.mark.parametrize("way", ["child", "vfork"])
def test_the_crash_of_a_child_is_the_childs(perimortem, programs, way):
    report = perimortem.report(programs / "crash_handlers", way)
    assert (report["verdict"], report["dumps"]) == ("clean-exit", []), report
    if way == "child":  # the other was gone before it could be held
        (child,) = report["processes"][1:]
        assert child["verdict"] == "crash"
        assert "SIGSEGV at 0x10" in child["where"]


def test_a_fault_whose_signal_is_ignored_passes_every_handler(perimortem, programs):
    report = perimortem.report(programs / "crash_handlers", "ignore")
    assert (report["verdict"], report["exit"]["signal"]) == ("crash", signal.SIGSEGV)
    assert (report["dumps"], report["crash"]) == ([], None)


def test_faulthandler_has_its_say_and_we_ours(perimortem):
    code = "import faulthandler, ctypes; faulthandler.enable(); ctypes.string_at(16)"
    report = perimortem.report(sys.executable, "-c", code)
    assert "Fatal Python error: Segmentation fault" in report["_stderr"]
    assert (report["verdict"], report["exit"]["signal"]) == ("crash", signal.SIGSEGV)
    assert (report["crash"]["name"], report["crash"]["address"]) == ("SIGSEGV", "0x10")
    assert len(report["dumps"]) == 1


def test_who_sent_the_signal_is_named(perimortem, programs):
    command = perimortem.start(
        "run", "--report", perimortem.base / "r.json", "--", programs / "crash_handlers", "wait"
    )
    assert command.stdout.readline() == "ready\n"
    children = subprocess.run(
        ["pgrep", "-P", str(command.pid), "-x", "crash_handlers"], capture_output=True, text=True
    )
    sender = subprocess.Popen(
        ["bash", "-c", f"kill -SEGV {int(children.stdout)}; read"], stdin=subprocess.PIPE
    )
    _, told = command.communicate(timeout=30)
    sender.communicate(b"\n")
    assert "KILLED  crash_handlers[" in told
    assert f"process {sender.pid} (bash)  [observed: siginfo]" in told
    assert "crash_handlers-" in told  # its dump


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace takes root")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT, signal.SIGTRAP, signal.SIGSYS])
def test_the_first_process_of_a_namespace(perimortem, programs, number):
    report = perimortem.report(
        "unshare", "--pid", "--fork", "--kill-child", programs / "crash_matrix", int(number)
    )
    member = next(p for p in report["processes"] if p["name"] == "crash_matrix")
    assert member["verdict"] == "crash", report
    stored = perimortem.call("show", "--json", member["id"])
    assert f'"name": "{number.name}"' in stored.stdout
    assert ".dmp" in stored.stdout


@pytest.mark.skipif(not shutil.which("java"), reason="java is not installed")
def test_a_virtual_machine_that_lives_on_its_faults(perimortem, tmp_path):
    (tmp_path / "Nulls.java").write_text(
        "public class Nulls { public static void main(String[] a) { int caught = 0;"
        " for (int i = 0; i < 200000; i++) { try { String s = i % 2 == 0 ? null : a[0]; s.length(); }"
        " catch (NullPointerException e) { caught++; } catch (ArrayIndexOutOfBoundsException e) {} }"
        " if (caught != 100000) System.exit(3); } }"
    )
    report = perimortem.report("java", "-Xmx64m", tmp_path / "Nulls.java")
    assert (report["verdict"], report["_status"]) == ("clean-exit", 0), report
    assert report["dumps"] == []


def test_a_monitor_that_does_not_answer_holds_nobody_for_ever(perimortem, programs):
    """Stopped, it takes no crash; the program waits its ten seconds and dies by its signal."""
    command = perimortem.start("run", "--", programs / "crash_handlers", "wait")
    assert command.stdout.readline() == "ready\n"
    found = subprocess.run(
        ["pgrep", "-P", str(command.pid), "-x", "crash_handlers"], capture_output=True, text=True
    )
    target = os.pidfd_open(int(found.stdout))
    command.send_signal(signal.SIGSTOP)
    began = time.monotonic()
    signal.pidfd_send_signal(target, signal.SIGSEGV)
    import select

    assert select.select([target], [], [], 30)[0]
    assert time.monotonic() - began > 5
    command.send_signal(signal.SIGCONT)
    _, told = command.communicate(timeout=30)
    assert "KILLED" in told
    os.close(target)
