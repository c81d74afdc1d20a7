"""Monitor, writer and worker are killed at every step of a crash: nothing that was reported is lost, no
process stays stopped, and a file with the name of a dump is a whole one."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, await_true, read_line_with

from perimortem.agent.library import find_preload_library
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile

pytestmark = pytest.mark.system

DRIVER = ROOT / "tests" / "programs" / "killed_at.py"
MONITOR_STEPS = [
    "before:perimortem.monitor.crash_server:CrashServer._serve",
    "before:perimortem.monitor.crash_server:CrashServer._take_crash",
    "before:perimortem.monitor.crash_effects:CrashEffects.dump",
    "before:perimortem.monitor.incident_store:WrittenStore.record",
    "after:perimortem.monitor.incident_store:WrittenStore.record",
    "after:perimortem.monitor.workers:WorkerPool.submit",
    "before:perimortem.monitor.crash_server:CrashServer.answer",
    "after:perimortem.monitor.crash_server:CrashServer.answer",
    "before:perimortem.monitor.crash_effects:CrashEffects.examine",
    "before:perimortem.monitor.exit_effects:ExitEffects.collect_status",
    "before:perimortem.monitor.exit_effects:ExitEffects.report",
]
WRITER_STEPS = [
    "before:perimortem.store.keeper:Keeper.keep",
    "after:perimortem.store.keeper:Keeper.keep",
    "before:perimortem.store.keeper:Keeper.reserve",
    "after:perimortem.store.keeper:Keeper.reserve",
    "after:perimortem.store.keeper:Keeper.settle",
    "after:perimortem.store.database:_add",
    "after:perimortem.store.spool:_sync",
]
WORKER_STEPS = [
    "before:perimortem.dumping.worker:decode_request",
    "after:perimortem.dumping.worker:_say",
    "before:perimortem.capture.linux.snapshot:check_access",
    "after:perimortem.capture.linux.ptrace:interrupt",
    "before:perimortem.capture.linux.snapshot:return_to_crash",
    "before:perimortem.capture.linux.snapshot:_collect",
    "before:perimortem.capture.linux.freeze:PtraceStop.thaw",
    "after:perimortem.capture.linux.freeze:PtraceStop.thaw",
    "before:perimortem.dumping.linux.write:write_minidump",
    "after:perimortem.dumping.linux.write:_WholeWrites.write",
    "before:perimortem.dumping.linux.write:publish",
    "before:perimortem.dumping.worker:encode_result",
]


def check_dumps(perimortem):
    """Every file under a final name is whole; returns how many there are."""
    found = list((perimortem.data_dir / "dumps").glob("*.dmp"))
    for path in found:
        data = path.read_bytes()
        dump = MinidumpFile(lambda at, size, data=data: data[at : at + size], len(data))
        assert dump.read_exception(dump.find(StreamType.ExceptionStream)).raw.code == 11
        assert dump.read_threads(dump.find(StreamType.ThreadListStream))
    return len(found)


def run_driver(perimortem, *arguments):
    environment = perimortem.env | {"KILLED_AT_BASE": str(perimortem.base)}
    return subprocess.Popen(
        [sys.executable, DRIVER, *map(str, arguments)], env=environment, text=True,
        stdout=subprocess.PIPE, stderr=subprocess.PIPE,
    )  # fmt: skip


def start_target(perimortem):
    code = (
        "import perimortem, sys, ctypes\n"
        "guard = perimortem.spawn_and_attach(answer_timeout=3)\n"
        "print(guard.error or 'ready', flush=True)\n"
        "sys.stdin.read()\n"
        "ctypes.string_at(16)"
    )
    return subprocess.Popen(
        [sys.executable, "-c", code], env=perimortem.env, text=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip


@pytest.mark.parametrize("step", MONITOR_STEPS, ids=lambda step: step.replace("perimortem.", ""))
def test_the_monitor_is_killed(perimortem, step):
    honest = perimortem.start("monitor", "--exit-when-idle")
    assert "serving" in honest.stderr.readline()
    target = start_target(perimortem)
    assert target.stdout.readline() == "ready\n"
    honest.kill()
    honest.wait()
    monitor = run_driver(perimortem, step, "monitor")
    if monitor.poll() is None:
        monitor.stderr.readline()
    target.communicate("", timeout=30)
    assert target.returncode == -signal.SIGSEGV  # it was released, and died of its own signal
    monitor.communicate(timeout=30)
    assert monitor.returncode == -signal.SIGKILL
    check_dumps(perimortem)

    after = perimortem.start("monitor")
    await_true(lambda: "serving" in after.stderr.readline())
    after.send_signal(signal.SIGINT)
    after.wait(timeout=30)
    (row,) = json.loads(perimortem.call("list", "--json").stdout)
    shown = json.loads(perimortem.call("show", "--json", row["number"]).stdout)
    assert (shown["verdict"], shown["crash"]["address"]) == ("crash", "0x10")
    dumps = [dump for dump in shown["dumps"] if dump["path"]]
    assert len(dumps) == check_dumps(perimortem)
    assert not list(perimortem.run_dir.glob("*.rec"))


@pytest.mark.parametrize("step", WRITER_STEPS, ids=lambda step: step.replace("perimortem.", ""))
def test_every_writer_is_killed(perimortem, programs, step):
    """The monitor starts four of them, and says so; the next one finds what they have left."""
    if "spool" in step:
        perimortem.data_dir.mkdir(parents=True)
        (perimortem.data_dir / "incidents.db").mkdir()
    run = run_driver(perimortem, step, "run", "--", programs / "crash_null")
    _, stderr = run.communicate(timeout=60)
    assert run.returncode == 139, stderr
    assert "CRASH" in stderr
    if "spool" in step:
        (perimortem.data_dir / "incidents.db").rmdir()
    check_dumps(perimortem)
    perimortem.call("run", "-q", "--", "true")
    rows = json.loads(perimortem.call("list", "--json").stdout)
    assert [row["verdict"] for row in rows] == ["crash"]
    assert not list(perimortem.run_dir.glob("*.rec"))


@pytest.mark.parametrize("step", WORKER_STEPS, ids=lambda step: step.replace("perimortem.", ""))
def test_the_worker_is_killed(perimortem, programs, step):
    report_path = perimortem.base / "report.json"
    monitor = run_driver(
        perimortem, "worker", step, "run", "-q", "--report", report_path, "--",
        programs / "crash_null",
    )  # fmt: skip
    _, stderr = monitor.communicate(timeout=60)
    assert monitor.returncode == 139, stderr
    report = json.loads(report_path.read_text())
    assert (report["verdict"], report["crash"]["address"]) == ("crash", "0x10")
    (dump,) = report["dumps"]
    # Both attempts die: nothing is left under the name of a dump.
    assert "the dump worker died" in dump["error"]
    assert check_dumps(perimortem) == 0
    assert not list((perimortem.data_dir / "dumps").glob(".*.partial"))


ORPHANS = """
import ctypes, os, sys, time
def fork(end):
    pid = os.fork()
    if pid == 0:
        time.sleep(0.1)
        end()
        os._exit(0)
    return pid
early = fork(lambda: (os.read(0, 1), ctypes.string_at(16)))
print("on", flush=True)
os.read(0, 1)
children = [fork(lambda: None) for _ in range(20)]
children.append(fork(lambda: ctypes.string_at(32)))
for pid in (early, *children):
    os.waitpid(pid, 0)
print("done", flush=True)
"""


def list_helpers(monitor_pid):
    """Its writer and its reader."""
    children = Path(f"/proc/{monitor_pid}/task/{monitor_pid}/children").read_text().split()
    paths = [Path("/proc") / pid for pid in children]
    return [path for path in paths if (path / "comm").read_text().startswith("perimortem")]


@pytest.mark.parametrize("after", ["run", "monitor"])
def test_what_ends_after_its_monitor_was_killed_is_reported_by_the_next(perimortem, after):
    """A forked child of before, and one of after, both crash; those that end well leave nothing."""
    monitor = perimortem.start(
        "run", "--", sys.executable, "-c", ORPHANS, stdin=subprocess.PIPE
    )  # fmt: skip
    assert monitor.stdout.readline() == "on\n"
    helpers = list_helpers(monitor.pid)
    monitor.kill()
    monitor.wait()
    monitor.stdin.write("xx")
    monitor.stdin.flush()
    assert monitor.stdout.readline() == "done\n"
    # Its writer may just be reporting what has no monitor: these are such, too.
    await_true(lambda: not any(path.exists() for path in helpers))
    if after == "run":
        perimortem.call("run", "-q", "--", "true")
    else:
        serving = perimortem.start("monitor")
        await_true(lambda: not list(perimortem.run_dir.glob("*.rec")))
        serving.send_signal(signal.SIGINT)
        serving.wait(timeout=30)
    rows = json.loads(perimortem.call("list", "--json").stdout)
    shown = [json.loads(perimortem.call("show", "--json", row["number"]).stdout) for row in rows]
    assert sorted((s["verdict"], s["crash"]["address"]) for s in shown) == [
        ("crash", "0x10"),
        ("crash", "0x20"),
    ]
    assert not list(perimortem.run_dir.glob("*.rec"))


def test_a_watch_is_killed_before_it_removes_the_recorder(perimortem, programs):
    """The next monitor finds the recorder, and reports the same incident."""
    pid_file = perimortem.base / "pid"
    target = subprocess.Popen(
        [programs / "ends_on_request", pid_file, "exit"], text=True, stdin=subprocess.PIPE,
        env=perimortem.env | {"LD_PRELOAD": str(find_preload_library())},
    )  # fmt: skip
    await_true(lambda: pid_file.exists() and pid_file.read_text().endswith("\n"))
    step = "before:perimortem.monitor.recorder_link:RecorderLink.remove"
    watch = run_driver(perimortem, step, "watch", target.pid)
    read_line_with(watch.stderr, "watching")
    target.communicate("\n", timeout=30)
    watch.communicate(timeout=30)
    assert watch.returncode == -signal.SIGKILL
    assert list(perimortem.run_dir.glob("*.rec"))
    after = perimortem.start("monitor")
    read_line_with(after.stderr, "serving")
    after.send_signal(signal.SIGINT)
    after.wait(timeout=30)
    (row,) = json.loads(perimortem.call("list", "--json").stdout)
    assert (row["verdict"], row["pid"]) == ("silent-crash", target.pid)
