"""The crash handler beside the handlers of the program itself: those go first, and nothing changes."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
import time

import pytest
from conftest import await_true, list_dumped

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
    assert "SIGSEGV at 0x10 in crash_handlers+0x" in report["where"]["text"]


def test_a_program_whose_fault_handler_exits_has_crashed(perimortem, programs):
    report = perimortem.report(programs / "crash_handlers", "leave")
    assert (report["verdict"], report["_status"]) == ("crash", 40 + signal.SIGSEGV), report
    assert "SIGSEGV at 0x10" in report["where"]["text"]
    assert "a handler of the program's own took it" in evidence(report)


@pytest.mark.parametrize("way", ["child", "vfork"])
def test_the_crash_of_a_child_is_the_childs(perimortem, programs, way):
    report = perimortem.report(programs / "crash_handlers", way)
    assert (report["verdict"], report["dumps"]) == ("clean-exit", []), report
    if way == "child":  # the other was gone before it could be held
        (child,) = report["processes"][1:]
        assert child["verdict"] == "crash"
        assert "SIGSEGV at 0x10" in child["where"]["text"]


@pytest.mark.parametrize("way", ["ignore", "fault", "fault_again"])
def test_a_fault_that_the_kernel_brings_to_no_handler(perimortem, programs, way):
    """Ignored, or blocked in the program's own handler that faults itself: as without us."""
    report = perimortem.report(programs / "crash_handlers", way)
    assert (report["verdict"], report["exit"]["signal"]) == ("crash", signal.SIGSEGV)
    assert (report["dumps"], report["crash"]) == ([], None)


NATIVE = [
    "large_stack", "moving_stack", "no_stack", "mask", "held", "vforked", "raw_fork",
    "feature_probe", "try_memory", "once", "again", "reset",
]  # fmt: skip


@pytest.mark.parametrize("way", [*NATIVE, "descend", "cancelled", "abort_returns"])
def test_a_program_with_its_own_handlers_ends_as_it_does_without_us(perimortem, programs, way):
    alone = subprocess.run([programs / "own_handlers", way], timeout=20).returncode
    report = perimortem.report(programs / "own_handlers", way)
    assert report["_status"] == (128 - alone if alone < 0 else alone), report["evidence"]
    if way in NATIVE:
        assert report["dumps"] == []
        assert report["verdict"] == ("clean-exit" if alone == 0 else report["verdict"])


@pytest.mark.parametrize("way", ["cancelled", "abort_returns", "no_descriptors"])
def test_crashes_that_are_easily_lost(perimortem, programs, way):
    report = perimortem.report(programs / "own_handlers", way)
    assert report["verdict"] == "crash"
    assert len(report["dumps"]) == 1, report["evidence"]


def test_a_fault_that_was_repaired_is_not_the_cause_of_a_later_abort(perimortem, programs):
    report = perimortem.report(programs / "own_handlers", "repaired_then_abort")
    assert (report["verdict"], report["crash"]["name"]) == ("crash", "SIGABRT")
    assert "abort called in own_handlers" in report["where"]["text"]


def test_signal_needs_no_loader(perimortem, programs):
    code = f"import ctypes; ctypes.CDLL({str(programs / 'libsignals_early.so')!r}); print('there')"
    result = perimortem.call("run", "-q", "--", sys.executable, "-c", code)
    assert result.stdout == "there\n"


def test_faulthandler_in_a_program_that_attaches_itself(perimortem):
    """There no hook stands before sigaction: we report first, then Python's handler runs."""
    code = (
        "import faulthandler, perimortem, ctypes; faulthandler.enable();"
        "guard = perimortem.spawn_and_attach(); assert not guard.error; ctypes.string_at(16)"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], env=perimortem.env, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == -signal.SIGSEGV
    assert "Fatal Python error: Segmentation fault" in result.stderr
    await_true(lambda: list_dumped(perimortem))
    (row,) = list_dumped(perimortem)
    assert row["verdict"] == "crash"


def test_faulthandler_and_our_handler_both_report(perimortem):
    code = "import faulthandler, ctypes; faulthandler.enable(); ctypes.string_at(16)"
    report = perimortem.report(sys.executable, "-c", code)
    assert "Fatal Python error: Segmentation fault" in report["_stderr"]
    assert (report["verdict"], report["exit"]["signal"]) == ("crash", signal.SIGSEGV)
    assert (report["crash"]["name"], report["crash"]["address"]) == ("SIGSEGV", "0x10")
    assert len(report["dumps"]) == 1


def test_the_sender_of_the_signal_is_named(perimortem, programs):
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
    _, stderr = command.communicate(timeout=30)
    sender.communicate(b"\n")
    assert "KILLED  crash_handlers[" in stderr
    assert f"process {sender.pid} (bash), by SIGSEGV  [observed: siginfo]" in stderr
    assert "crash_handlers-" in stderr  # its dump


@pytest.mark.skipif(os.geteuid() != 0, reason="a pid namespace takes root")
def test_the_first_process_of_a_namespace_ignores_signals_of_others(perimortem):
    script = "kill -SEGV $$; kill -TRAP $$; echo alive"
    result = perimortem.call("run", "-q", "--", "unshare", "--pid", "--fork", "sh", "-c", script)
    assert (result.stdout, result.returncode) == ("alive\n", 0)


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


def test_a_monitor_that_does_not_answer_holds_no_program_for_ever(perimortem, programs):
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
    _, stderr = command.communicate(timeout=30)
    assert "KILLED" in stderr
    os.close(target)
