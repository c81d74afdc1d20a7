"""Exit statuses of processes that are not our children."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time

import pytest
from conftest import await_true, read_line_with

from perimortem.errors import ProcessGone
from perimortem.exits.linux import pidfd
from perimortem.exits.linux.proc_connector import ProcConnector
from perimortem.model.exits import ExitKind, ExitSource
from perimortem.model.fact import FactCode
from perimortem.model.process import ProcessRef
from perimortem.proc import find_process

pytestmark = pytest.mark.system

GRANDPARENT = """
import os, sys
child = os.fork()
if child == 0:
    os.write(1, str(os.getpid()).encode() + b"\\n")
    sys.stdin.readline()
    {end}
sys.stdin.close()
if "{reap}" == "yes":
    os.waitpid(child, 0)
else:
    import time; time.sleep(60)
"""

ENDS = {
    "os._exit(42)": (ExitKind.EXITED, 42, None),
    "os._exit(0)": (ExitKind.EXITED, 0, None),
    "os.kill(os.getpid(), 9)": (ExitKind.SIGNALED, None, 9),
    "os.abort()": (ExitKind.SIGNALED, None, 6),
}


@pytest.fixture()
def grandchild():
    started = []

    def begin(end, reap="yes"):
        script = GRANDPARENT.format(end=end, reap=reap)
        popen = subprocess.Popen(
            [sys.executable, "-c", script], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        started.append(popen)
        return popen, find_process(int(popen.stdout.readline()))

    yield begin
    for popen in started:
        popen.kill()
        popen.wait()
        popen.stdin.close()
        popen.stdout.close()


def collect(watch):
    poll = select.poll()
    poll.register(watch.waitable(), select.POLLIN)
    assert poll.poll(10_000)
    deadline = time.monotonic() + 10
    while (end := watch.collect_exit(time.monotonic_ns())) is None:
        assert time.monotonic() < deadline
        time.sleep(watch.retry_after_s)
    return end


def release(popen):
    popen.stdin.write(b"\n")
    popen.stdin.flush()


@pytest.mark.parametrize("end", ENDS)
@pytest.mark.parametrize("reap", ["yes", "no"])
def test_status_of_an_unrelated_process(grandchild, end, reap):
    popen, ref = grandchild(end, reap)
    watch = pidfd.ForeignExitWatch(ref)
    release(popen)
    found = collect(watch)
    watch.close()
    kind, code, number = ENDS[end]
    assert (found.kind, found.code, found.signal) == (kind, code, number)
    assert found.source is not ExitSource.NONE


def test_50_unrelated_processes_in_a_row_are_all_exact(grandchild):
    for i in range(50):
        popen, ref = grandchild(f"os._exit({i})")
        watch = pidfd.ForeignExitWatch(ref)
        release(popen)
        assert collect(watch).code == i
        watch.close()


@pytest.mark.skipif(os.geteuid() != 0, reason="the proc connector needs CAP_NET_ADMIN")
def test_the_proc_connector_alone_is_enough(grandchild, monkeypatch):
    monkeypatch.setattr(pidfd, "read_exit_status", lambda fd: None)
    popen, ref = grandchild("os._exit(42)")
    monkeypatch.setattr(pidfd, "read_stat", _read_stat_but_of_no_zombie(pidfd.read_stat))
    connector = ProcConnector()
    watch = pidfd.ForeignExitWatch(ref, connector)
    release(popen)
    found = collect(watch)
    assert (found.code, found.source) == (42, ExitSource.PROC_CONNECTOR)
    watch.close()
    connector.close()


def test_without_any_source_the_status_is_unknown_never_guessed(grandchild, monkeypatch):
    monkeypatch.setattr(pidfd, "read_exit_status", lambda fd: None)
    monkeypatch.setattr(ProcConnector, "shared", classmethod(lambda cls: None))
    monkeypatch.setattr(pidfd, "read_stat", _read_stat_but_of_no_zombie(pidfd.read_stat))
    popen, ref = grandchild("os._exit(42)")
    watch = pidfd.ForeignExitWatch(ref)
    release(popen)
    found = collect(watch)
    assert (found.kind, found.code, found.source) == (ExitKind.UNKNOWN, None, ExitSource.NONE)
    assert watch.facts[0].code is FactCode.STATUS_UNKNOWN
    watch.close()


def _read_stat_but_of_no_zombie(read_stat):
    def read(pid):
        facts = read_stat(pid)
        return None if facts is None or facts.state == "Z" else facts

    return read


def test_a_pid_of_another_time_is_refused():
    me = find_process(os.getpid())
    with pytest.raises(ProcessGone, match="pid was reused"):
        pidfd.open_pidfd(ProcessRef(me.pid, me.start_time_ticks + 1))


def test_a_leader_that_left_early_does_not_speak_for_its_process(programs):
    """Main exited by pthread_exit with 0; the process ends by SIGSEGV of another thread, unreaped."""
    popen = subprocess.Popen(
        [programs / "leader_exits"], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    popen.stdout.readline()
    watch = pidfd.ForeignExitWatch(find_process(popen.pid))
    release(popen)
    found = collect(watch)
    assert (found.kind, found.signal) == (ExitKind.SIGNALED, signal.SIGSEGV)
    watch.close()
    popen.communicate()


def test_watch_reports_the_end_of_an_unrelated_process(perimortem, grandchild):
    popen, ref = grandchild("os._exit(42)")
    watch = perimortem.start("watch", ref.pid, "--json")
    await_true(lambda: os.path.exists(f"/proc/{watch.pid}/fd") and _holds_pidfd(watch.pid))
    release(popen)
    _, stderr = watch.communicate(timeout=30)
    report = json.loads(stderr)
    assert (report["verdict"], report["exit"]["code"]) == ("failed-exit", 42)
    assert report["silent"] is None
    assert watch.returncode == 0


def _holds_pidfd(pid):
    try:
        return any(
            "pidfd" in os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")
        )
    except OSError:
        return False


def test_watch_reports_the_hang_of_an_unrelated_process_and_leaves_it_running(perimortem, start):
    program = start("hang_once", 0.3)
    watch = perimortem.start("watch", "--no-stacks", program.pid)
    assert "main" in read_line_with(watch.stderr, "HANG")
    read_line_with(watch.stderr, "dump")
    watch.send_signal(signal.SIGINT)
    _, stderr = watch.communicate(timeout=30)
    assert watch.returncode == 0
    assert "HANG" in stderr
    await_true(lambda: program.state == "S")
    (row,) = json.loads(perimortem.call("list", "--json").stdout)
    assert row["verdict"] == "hang"


def test_watch_by_name_waits_for_it(perimortem, programs, start):
    watch = perimortem.start("watch", "--name", "signal_coun*")
    read_line_with(watch.stderr, "waiting")
    program = start("signal_counter")
    read_line_with(watch.stderr, f"signal_counter[{program.pid}]")
    program.popen.kill()
    program.popen.wait()
    _, stderr = watch.communicate(timeout=30)
    assert "KILLED  signal_counter" in stderr
