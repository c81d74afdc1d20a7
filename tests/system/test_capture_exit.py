"""--capture-exit: a dump as the command exits, memory intact, for any cause."""

from __future__ import annotations

import json
import os
import signal
import sys
from pathlib import Path

import pytest
from conftest import await_true

from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile

pytestmark = pytest.mark.system

AWAIT_TRACER = """
import os, signal, subprocess, sys, threading, time
while "TracerPid:\\t0\\n" in open("/proc/self/status").read():
    time.sleep(0.01)
"""
"""Until a tracer waits for its end."""
MANNERS = (
    AWAIT_TRACER
    + """
count = 0
def note(*_):
    global count
    count += 1
signal.signal(signal.SIGUSR1, note)
for i in range(200):
    thread = threading.Thread(target=lambda: None)
    thread.start()
    thread.join()
    os.kill(os.getpid(), signal.SIGUSR1)
child = subprocess.run(["sh", "-c", "(sleep 0.1; kill -CONT $$) & kill -STOP $$; exit 3"]).returncode
print(count, child, flush=True)
os.execvp("sh", ["sh", "-c", "echo became another; exit 0"])
"""
)


def run_captured(perimortem, *argv):
    report = perimortem.report(*argv, options=("--capture-exit", "--no-stacks"))
    dumps = [dump["path"] for dump in report["dumps"] if dump["path"]]
    assert dumps or report["verdict"] == "clean-exit", report["soft_errors"]
    return report, dumps


def read_threads(path):
    data = Path(path).read_bytes()
    dump = MinidumpFile(lambda offset, size: data[offset : offset + size], len(data))
    return dump.read_threads(dump.find(StreamType.ThreadListStream))


def test_killed_with_all_its_threads(perimortem):
    code = AWAIT_TRACER + (
        "for i in range(8): threading.Thread(target=time.sleep, args=(60,)).start()\n"
        "os.kill(os.getpid(), 9)"
    )
    report, (path,) = run_captured(perimortem, sys.executable, "-c", code)
    assert (report["verdict"], report["exit"]["signal"]) == ("killed", signal.SIGKILL)
    threads = read_threads(path)
    assert len(threads) == 9
    assert all(thread.context_size and thread.stack.data_size for thread in threads)


@pytest.mark.parametrize(
    ("status", "verdict", "thread_counts"), [(7, "silent-crash", [2]), (0, "clean-exit", [])]
)
def test_left_by_underscore_exit_in_a_thread(perimortem, status, verdict, thread_counts):
    code = AWAIT_TRACER + (
        f"threading.Thread(target=os._exit, args=({status},)).start(); time.sleep(60)"
    )
    report = perimortem.report(sys.executable, "-c", code, options=("--capture-exit",))
    assert (report["verdict"], report["exit"]["code"]) == (verdict, status)
    dumps = [dump["path"] for dump in report["dumps"] if dump["path"]]
    assert [len(read_threads(path)) for path in dumps] == thread_counts
    assert [str(path) for path in (perimortem.data_dir / "dumps").glob("*.dmp")] == dumps


def test_a_clean_end_leaves_no_dump(perimortem):
    report, dumps = run_captured(perimortem, sys.executable, "-c", AWAIT_TRACER)
    assert (report["verdict"], dumps, report["soft_errors"]) == ("clean-exit", [], [])
    assert not list((perimortem.data_dir / "dumps").iterdir())


def test_signals_threads_children_and_exec_are_as_without(perimortem):
    command = perimortem.start("run", "-q", "--capture-exit", "--", sys.executable, "-c", MANNERS)
    stdout, stderr = command.communicate(timeout=60)
    assert stdout == "200 3\nbecame another\n", stderr
    assert command.returncode == 0


def test_a_stop_is_a_stop(perimortem):
    command = perimortem.start(
        "run", "-q", "--capture-exit", "--threshold", "60", "--",
        "sh", "-c", "echo $$; exec sleep 60",
    )  # fmt: skip
    pid = int(command.stdout.readline())
    status = Path(f"/proc/{pid}/status")
    await_true(lambda: "TracerPid:\t0" not in status.read_text())
    os.kill(pid, signal.SIGSTOP)
    await_true(lambda: any(word in status.read_text() for word in ("State:\tT", "State:\tt")))
    os.kill(pid, signal.SIGCONT)
    await_true(lambda: "State:\tS" in status.read_text())
    os.kill(pid, signal.SIGTERM)
    command.communicate(timeout=30)
    (row,) = json.loads(perimortem.call("list", "--json").stdout)
    assert (row["verdict"], row["has_dump"]) == ("stopped", True)


def test_a_monitor_that_is_killed_lets_it_run_on(perimortem):
    command = perimortem.start(
        "run", "-q", "--capture-exit", "--", "sh", "-c", "echo $$; exec sleep 60"
    )
    pid = int(command.stdout.readline())
    status = Path(f"/proc/{pid}/status")
    await_true(lambda: "TracerPid:\t0" not in status.read_text())
    command.kill()
    command.wait()
    await_true(lambda: "TracerPid:\t0" in status.read_text())
    await_true(lambda: "State:\tS" in status.read_text())
    os.kill(pid, signal.SIGTERM)
