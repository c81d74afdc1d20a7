"""Dumps of real processes, read by standard debuggers, and targets that run on unharmed."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import time
from dataclasses import asdict
from pathlib import Path

import pytest
from conftest import ROOT, await_true

from perimortem.capture.linux import freeze as freeze_module
from perimortem.capture.linux.freeze import PtraceStop
from perimortem.dumping.naming import dump_name, publish
from perimortem.dumping.write import write_dump
from perimortem.errors import CaptureFailed, ProcessGone
from perimortem.model.dump import FULL, MINI, DumpOptions, MinidumpType
from perimortem.model.process import ProcessRef
from perimortem.proc import find_process

pytestmark = pytest.mark.system

needs_lldb = pytest.mark.skipif(not shutil.which("lldb"), reason="lldb is not installed")


def lldb(path, *commands):
    words = [word for command in commands for word in ("-o", command)]
    result = subprocess.run(
        ["lldb", "-b", "-x", "-o", f"target create --core {path}", *words],
        capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    return result.stdout


@needs_lldb
@pytest.mark.parametrize("types", [MINI, FULL, MinidumpType.NORMAL], ids=["mini", "full", "normal"])
def test_lldb_opens_it_with_every_threads_stack(start, tmp_path, types):
    program = start("many_threads", 8)
    result = write_dump(find_process(program.pid), tmp_path / "d.dmp", DumpOptions(types))
    assert result.thread_count == 9
    text = lldb(result.path, "thread backtrace all", "image list")
    assert len(re.findall(r"^. thread #\d+", text, re.M)) == 9
    assert len(re.findall(r"frame #\d+: 0x[0-9a-f]+ many_threads`wait_here", text)) == 8
    assert len(re.findall(r"frame #\d+: 0x[0-9a-f]+ many_threads`main", text)) == 1
    build_id = subprocess.run(
        ["readelf", "-n", program.popen.args[0]], capture_output=True, text=True
    ).stdout.split("Build ID: ")[1][:8].upper()  # fmt: skip
    assert build_id in text.replace("-", "")


@needs_lldb
def test_globals_are_in_a_mini_dump(start, tmp_path):
    program = start("many_threads", 1)
    result = write_dump(find_process(program.pid), tmp_path / "d.dmp", DumpOptions(MINI))
    assert "0x00005eed" in lldb(result.path, "memory read -fx -s4 -c1 &global_marker")


def test_inspect_names_threads_and_descriptors(start, perimortem, tmp_path):
    program = start("many_threads", 3)
    result = perimortem.call("dump", program.pid, "-o", tmp_path)
    assert result.returncode == 0, result.stderr
    (path,) = tmp_path.glob("many_threads-*.dmp")
    assert path.name.endswith(f"-{program.pid}.dmp")
    assert path.stat().st_mode & 0o777 == 0o600
    document = json.loads(perimortem.call("inspect", "--json", path).stdout)
    streams = {stream["name"]: stream for stream in document["streams"]}
    names = {thread["name"] for thread in streams["ThreadListStream"]["threads"]}
    assert names == {"many_threads", "waiter-0", "waiter-1", "waiter-2"}
    handles = {int(h["handle"], 16): h for h in streams["HandleDataStream"]["handles"]}
    assert handles[1]["type"] == "pipe"
    assert streams["MiscInfoStream"]["process_id"] == program.pid
    assert "many_threads" in streams["ModuleListStream"]["modules"][0]["name"]
    assert "LinuxEnviron" not in streams
    text = perimortem.call("dumpdebug", path).stdout
    assert "4 threads" in text
    await_true(lambda: program.state == "S")


def test_the_target_runs_on_and_is_not_traced(start, tmp_path):
    program = start("many_threads", 4)
    for i in range(20):
        write_dump(find_process(program.pid), tmp_path / f"{i}.dmp", DumpOptions(MINI))
    status = Path(f"/proc/{program.pid}/status").read_text()
    assert "TracerPid:\t0" in status
    await_true(lambda: program.state == "S")


def test_no_signal_is_lost_through_200_dumps(start, tmp_path):
    """10,000 queued real-time signals, sent while 200 freezes come and go; each is counted."""
    program = start("signal_counter")
    sender = subprocess.Popen(
        [sys.executable, "-c",
         "import ctypes, os, signal, sys\n"
         "pid, sent = int(sys.argv[1]), 0\n"
         "libc = ctypes.CDLL(None, use_errno=True)\n"
         "while sent < 10000:\n"
         "    sent += libc.sigqueue(pid, signal.SIGRTMIN, None) == 0\n",
         str(program.pid)]
    )  # fmt: skip
    for _ in range(200):
        with PtraceStop(program.pid) as freeze:
            assert freeze.stopped == [program.pid]
    sender.wait(timeout=60)
    pending = Path(f"/proc/{program.pid}/status")
    await_true(lambda: "ShdPnd:\t0000000000000000" in pending.read_text() and program.state == "S")
    program.popen.terminate()
    assert program.popen.stdout.read().strip() == "10000"


def test_a_stopped_target_stays_stopped(start, tmp_path):
    program = start("many_threads", 2)
    program.popen.send_signal(signal.SIGSTOP)
    await_true(lambda: program.state == "T")
    result = write_dump(find_process(program.pid), tmp_path / "d.dmp", DumpOptions(MINI))
    assert result.thread_count == 3
    # The kernel wakes a detached thread for a moment, in which it enters its old stop again.
    await_true(lambda: program.state == "T")
    program.popen.send_signal(signal.SIGCONT)
    await_true(lambda: program.state == "S")


def test_a_dead_leader_is_dumped_through_a_living_thread(start, tmp_path):
    program = start("pthread_exit_main")
    await_true(lambda: program.state == "Z")
    result = write_dump(find_process(program.pid), tmp_path / "d.dmp", DumpOptions(MINI))
    assert result.thread_count == 1
    assert result.size_bytes > 50_000


def test_a_dead_leader_and_unreadable_memory_are_not_taken_for_the_end(start, tmp_path):
    """After many holes we check whether the process still exists; its leader does not."""
    program = start("pthread_exit_main", "guarded")
    if program.first_line == "no guard pages":
        pytest.skip("MADV_GUARD_INSTALL is of Linux 6.13")
    result = write_dump(find_process(program.pid), tmp_path / "d.dmp", DumpOptions(FULL))
    assert any(f"{8 << 20} bytes at" in error for error in result.soft_errors)


@pytest.mark.parametrize("form", ["minidump", "core"])
def test_a_vfork_parent_is_dumped_with_what_its_call_shows(start, perimortem, tmp_path, form):
    program = start("vfork_parent", stdin=subprocess.PIPE)
    await_true(lambda: program.state == "D")
    dump = tmp_path / "dump"
    options = ("--format", form, "--json", "-o", dump)
    result = json.loads(perimortem.call("dump", program.pid, *options).stdout)
    assert any("did not stop within 100 ms" in error for error in result["soft_errors"])
    assert result["thread_count"] == 2
    account = json.loads(perimortem.call("analyze", "--json", dump).stdout)
    names = [thread["frames"][0]["function"] for thread in account["threads"]]
    assert any("vfork" in (name or "") for name in names), names
    program.popen.stdin.close()
    await_true(lambda: program.state == "S")


def test_a_core_without_registers_is_read(start, perimortem, tmp_path):
    """Of a thread that runs, and may not be stopped."""
    program = start([sys.executable, "-c", "print(flush=True)\nwhile True: pass"])
    dump = tmp_path / "d.core"
    options = ("--pause", "none", "--format", "core", "-o", dump)
    assert perimortem.call("dump", program.pid, *options).returncode == 0
    account = json.loads(perimortem.call("analyze", "--json", dump).stdout)
    (thread,) = account["threads"]
    assert thread["tid"] == program.pid
    assert {frame["trust"] for frame in thread["frames"]} == {"python"}, "there is no register"
    assert Path(account["program"]).name.startswith("python")


BUSY = """
import os, time
os.sched_setscheduler(0, os.SCHED_FIFO, os.sched_param(1))
print(flush=True)
end = time.monotonic() + 0.6
while time.monotonic() < end: pass
"""


@pytest.mark.exclusive
def test_a_thread_without_a_processor_is_waited_for(start, tmp_path):
    """On a busy machine a thread stops only after others have run."""
    if os.geteuid() or len(os.sched_getaffinity(0)) < 2:
        pytest.skip("only root may keep a processor to itself, and one must be left")
    ours, theirs, *_ = sorted(os.sched_getaffinity(0))
    program = start("stacks-O2", "rest")
    os.sched_setaffinity(program.pid, {theirs})
    before = os.sched_getaffinity(0)
    os.sched_setaffinity(0, {ours})
    try:
        with PtraceStop(program.pid):  # what the first one imports is not waited for
            pass
        start(["taskset", "-c", str(theirs), sys.executable, "-c", BUSY])
        with PtraceStop(program.pid) as stop:
            registers = stop.read_registers()
    finally:
        os.sched_setaffinity(0, before)
    assert stop.soft_errors == []
    assert [found is not None for found in registers.values()] == [True]
    assert stop.paused_ns > 150_000_000, "the processor was free"


def test_a_reused_pid_is_refused(start, tmp_path):
    program = start("many_threads", 1)
    ref = find_process(program.pid)
    wrong = ProcessRef(ref.pid, ref.start_time_ticks - 1)
    with pytest.raises(ProcessGone, match="pid was reused"):
        write_dump(wrong, tmp_path / "d.dmp", DumpOptions(MINI))
    assert list(tmp_path.iterdir()) == []
    await_true(lambda: program.state == "S")


def test_a_traced_process_is_refused_with_the_tracers_name(start, tmp_path):
    if not shutil.which("strace") and not shutil.which("gdb"):
        pytest.skip("no debugger is installed")
    program = start("many_threads", 1)
    gdb = subprocess.Popen(
        ["gdb", "-nx", "-q", "-p", str(program.pid)],
        stdin=subprocess.PIPE, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        status = Path(f"/proc/{program.pid}/status")
        await_true(lambda: "TracerPid:\t0" not in status.read_text())
        with pytest.raises(CaptureFailed, match=rf"traced by process {gdb.pid} \(gdb\)"):
            write_dump(find_process(program.pid), tmp_path / "d.dmp", DumpOptions(MINI))
    finally:
        gdb.kill()
        gdb.wait()
        gdb.stdin.close()


def test_a_size_limit_leaves_no_file_and_a_running_target(start, tmp_path):
    program = start("many_threads", 4)
    request = {
        "pid": program.pid, "start_time_ticks": find_process(program.pid).start_time_ticks,
        "path": str(tmp_path / "d.dmp"), "options": asdict(DumpOptions(FULL)),
        "size_limit_bytes": 1 << 20,
    }  # fmt: skip
    worker = Path(sys.modules["perimortem.dumping.write"].__file__).with_name("worker.py")
    result = subprocess.run(
        [sys.executable, "-I", "-S", worker],
        input=json.dumps(request) + "\n", capture_output=True, text=True,
    )  # fmt: skip
    answer = json.loads(result.stdout.splitlines()[1])
    assert answer["path"] is None
    assert "larger than the limit" in answer["error"]
    assert list(tmp_path.iterdir()) == []
    await_true(lambda: program.state == "S")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to mount a small disk")
def test_a_full_disk_leaves_no_file(start, tmp_path):
    disk = tmp_path / "disk"
    disk.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", disk], check=True)
    try:
        program = start("many_threads", 4)
        with pytest.raises(CaptureFailed, match="free"):
            write_dump(find_process(program.pid), disk / "d.dmp", DumpOptions(FULL))
        (disk / "fill").write_bytes(bytes(900 << 10))
        with pytest.raises(CaptureFailed, match="free"):
            write_dump(find_process(program.pid), disk / "d.dmp", DumpOptions(MINI))
        assert [path.name for path in disk.iterdir()] == ["fill"]
    finally:
        subprocess.run(["umount", disk], check=True)


def test_a_worker_killed_in_mid_dump_lets_the_target_run_on(start, tmp_path):
    """The worker is killed while it holds the target; the kernel lets go, no dump is left."""
    program = start("hang_once", 0.3, 0, 512)  # its dump takes its time
    worker_path = Path(sys.modules["perimortem.dumping.write"].__file__).with_name("worker.py")
    request = {
        "pid": program.pid, "start_time_ticks": find_process(program.pid).start_time_ticks,
        "path": str(tmp_path / "d.dmp"), "options": asdict(DumpOptions(FULL)),
        "size_limit_bytes": 1 << 40,
    }  # fmt: skip
    worker = subprocess.Popen([sys.executable, "-I", "-S", worker_path], stdin=subprocess.PIPE)
    worker.stdin.write(json.dumps(request).encode() + b"\n")
    worker.stdin.close()
    status = Path(f"/proc/{program.pid}/status")
    await_true(lambda: f"TracerPid:\t{worker.pid}" in status.read_text())
    worker.kill()
    worker.wait()
    await_true(lambda: program.state == "S")
    assert "TracerPid:\t0" in status.read_text()
    assert not (tmp_path / "d.dmp").exists()


def test_a_target_killed_in_mid_dump_still_gets_its_verdict(perimortem, programs):
    """The monitor never blocks in a wait while a worker holds the dead target (a full dump)."""
    process = perimortem.start(
        "run", "--dump-type", "full", "--no-stacks", "--report", perimortem.base / "r.json",
        "--", programs / "hang_once", "0.2", "0", "512",
    )  # fmt: skip
    process.stdout.readline()
    dumps = perimortem.data_dir / "dumps"
    await_true(lambda: list(dumps.glob(".*.partial")))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in children:
        if Path(f"/proc/{pid}/comm").read_text().strip() == "hang_once":
            os.kill(int(pid), signal.SIGKILL)
    process.communicate(timeout=30)
    report = json.loads((perimortem.base / "r.json").read_text())
    assert (report["verdict"], report["exit"]["signal"]) == ("hang", 9)


def test_names_are_safe_and_never_overwrite(tmp_path):
    assert dump_name("a b/c\n", 17, 4711) == "a_b_c_-17-4711.dmp"
    assert dump_name("..", 17, 4711) == "process-17-4711.dmp"
    partial = tmp_path / "p"
    taken = tmp_path / "x-17-4711.dmp"
    taken.write_text("first")
    partial.write_text("second")
    assert publish(partial, taken) == tmp_path / "x-18-4711.dmp"
    assert taken.read_text() == "first"
    partial.write_text("third")
    mine = tmp_path / "mine.dmp"
    mine.write_text("mine")
    with pytest.raises(FileExistsError):
        publish(partial, mine)
    assert mine.read_text() == "mine"


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to become another user")
def test_a_missing_right_is_named(start, programs):
    program = start("many_threads", 1)
    script = (
        "import os, sys; os.setgid(65534); os.setuid(65534)\n"
        "from perimortem.capture.linux.freeze import PtraceStop\n"
        "from perimortem.errors import AccessDenied\n"
        "try:\n    with PtraceStop(int(sys.argv[1])):\n        print('it was frozen')\n"
        "except AccessDenied as error:\n    print(error)\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(_readable_copy())}
    python = os.path.realpath(sys.executable)
    if not all(parent.stat().st_mode & 0o001 for parent in Path(python).parents):
        python = shutil.which("python3", path="/usr/bin:/bin") or python
    result = subprocess.run(
        [python, "-c", script, str(program.pid)], capture_output=True, text=True, env=environment
    )
    if "Permission denied" in result.stderr:
        pytest.skip("no Python that another user may run")
    wanted = "it runs as uid 0, you are uid 65534, and CAP_SYS_PTRACE is missing"
    assert wanted in result.stdout, result.stdout + result.stderr


def _readable_copy():
    import tempfile

    target = Path(tempfile.mkdtemp(prefix="perimortem-copy-"))
    shutil.copytree(ROOT / "src", target / "src")
    for path in (target, *target.rglob("*")):
        path.chmod(0o755)
    return target / "src"


def test_a_dump_waits_for_nothing_when_the_process_has_gone(perimortem, programs):
    done = subprocess.Popen([programs / "clean"])
    done.wait()
    result = perimortem.call("dump", done.pid)
    assert result.returncode == 1
    assert "there is no process" in result.stderr


WRITER = """
import os, sys, threading, time
def write(): print(os.write(1, b"x" * 1_000_000), file=sys.stderr, flush=True)
if "beside" in sys.argv:
    threading.Thread(target=time.sleep, args=(600,), daemon=True).start()
write()
os._exit(0)
"""


@pytest.mark.parametrize("command", ["dump", "stack"])
@pytest.mark.parametrize("arguments", [(), ("beside",)])
def test_a_write_is_not_cut_short_by_a_stop(perimortem, tmp_path, command, arguments):
    """It has filled the pipe, and waits for room: interrupted, it would return 65,536."""
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, *arguments], stdout=subprocess.PIPE, stderr=subprocess.PIPE
    )
    wchan = Path(f"/proc/{writer.pid}/syscall")
    await_true(lambda: wchan.read_text().startswith("1 0x1 "))
    options = ("-o", tmp_path / "x.dmp") if command == "dump" else ("--no-python",)
    result = perimortem.call(command, writer.pid, *options)
    assert result.returncode == 0, result.stderr
    output, said = writer.communicate(timeout=30)
    assert (len(output), said) == (1_000_000, b"1000000\n")


@pytest.mark.parametrize("restarts", [True, False])
def test_no_call_ends_with_eintr_because_of_us(start, restarts):
    """50 freezes of threads that sleep in calls which a stop cuts short."""
    program = start("eintr_counter")
    tasks = Path(f"/proc/{program.pid}/task")
    await_true(lambda: len(list(tasks.iterdir())) == 6)
    for _ in range(50):
        with PtraceStop(program.pid, restarts_calls=restarts) as freeze:
            assert len(freeze.stopped) == 6
        await_true(lambda: all(") S " in (t / "stat").read_text() for t in tasks.iterdir()))
    program.popen.terminate()
    interrupted = int(program.popen.stdout.read())
    assert interrupted == 0 if restarts else interrupted >= 50


@pytest.mark.parametrize("patience_s", [-1.0, 0.0002])
def test_no_call_of_a_thread_that_stops_late_ends_with_eintr(start, monkeypatch, patience_s):
    """We gave up waiting for it, and let it go on as soon as it stopped; also if that is just now."""
    monkeypatch.setattr(freeze_module, "STOP_DEADLINE_S", patience_s)
    program = start("eintr_counter")
    tasks = Path(f"/proc/{program.pid}/task")
    await_true(lambda: len(list(tasks.iterdir())) == 6)
    for number in range(50):
        with PtraceStop(program.pid):
            time.sleep(0.002 * (number % 2))  # some have stopped by now, without our notice
        await_true(lambda: all(") S " in (t / "stat").read_text() for t in tasks.iterdir()))
    program.popen.terminate()
    assert int(program.popen.stdout.read()) == 0
