"""Every verdict, by a real program that ends so."""

from __future__ import annotations

import os
import signal
import sys
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from conftest import await_true

pytestmark = pytest.mark.system


def evidence(report):
    return "\n".join(f"{e['fact']} [{e['source']}]" for e in report["evidence"])


def test_clean_exit(perimortem, programs):
    report = perimortem.report(programs / "clean")
    assert (report["verdict"], report["silent"], report["_status"]) == ("clean-exit", False, 0)
    assert "said goodbye" in evidence(report)


@pytest.mark.parametrize("how", ["return", "exit", "_exit", "_Exit", "quick_exit"])
def test_the_programs_own_exit_is_a_goodbye_however_it_exits(perimortem, programs, how):
    report = perimortem.report(programs / "exit_status", 3, how)
    assert (report["verdict"], report["silent"], report["_status"]) == ("failed-exit", False, 3)


@pytest.mark.parametrize("how", ["_exit", "exit", "_Exit", "quick_exit"])
def test_a_library_that_ends_the_process_is_a_silent_crash(perimortem, programs, how):
    report = perimortem.report(programs / "exit_in_library", how)
    assert (report["verdict"], report["silent"], report["_status"]) == ("silent-crash", True, 7)
    assert report["where"]["text"].startswith(f"{how} called in libsends_it.so+0x")
    assert "main thread" in report["where"]["text"]


@pytest.mark.parametrize("how", ["thread_exit", "thread__exit"])
def test_a_thread_of_a_library_that_ends_the_process(perimortem, programs, how):
    report = perimortem.report(programs / "exit_in_library", how)
    assert (report["verdict"], report["silent"]) == ("silent-crash", True)
    assert "called in libsends_it.so+0x" in report["where"]["text"]


def test_another_thread_of_the_program_is_named(perimortem, programs):
    report = perimortem.report(programs / "exit_in_thread")
    assert (report["verdict"], report["_status"]) == ("silent-crash", 5)
    assert report["where"]["text"].startswith("_exit called in exit_in_thread+0x")
    assert "thread quitter (" in report["where"]["text"]


def test_a_librarys_destructor_after_the_programs_goodbye(perimortem, programs):
    report = perimortem.report(programs / "exit_in_library", "destructor")
    assert (report["verdict"], report["_status"]) == ("silent-crash", 9)


def test_a_library_that_exits_with_status_0_is_clean_but_named(perimortem, programs):
    report = perimortem.report(programs / "exit_in_library", "_exit0")
    assert (report["verdict"], report["silent"]) == ("clean-exit", True)
    assert "libsends_it.so" in report["where"]["text"]


def test_the_offset_of_the_caller_is_right(perimortem, programs):
    """addr2line finds the line that calls _exit from the module offset in the account."""
    import subprocess

    report = perimortem.report(programs / "exit_in_library", "_exit")
    offset = report["where"]["text"].split("+")[1].split(",")[0]
    result = subprocess.run(
        ["addr2line", "-f", "-e", programs / "libsends_it.so", offset],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert result.stdout.split()[0] == "library_exits"


def test_shells_and_python_exit_by_their_own_exit_function(perimortem):
    assert perimortem.report("sh", "-c", "exit 4")["verdict"] == "failed-exit"
    assert perimortem.report("bash", "-c", "exit 0")["verdict"] == "clean-exit"
    report = perimortem.report(sys.executable, "-c", "import os; os._exit(6)")
    assert (report["verdict"], report["silent"], report["_status"]) == ("failed-exit", False, 6)
    report = perimortem.report(sys.executable, "-c", "raise SystemExit(2)")
    assert (report["verdict"], report["_status"]) == ("failed-exit", 2)


def test_a_go_program_bypasses_every_hook_and_is_not_blamed(perimortem, tmp_path):
    import shutil
    import subprocess

    if not shutil.which("go"):
        pytest.skip("Go is not installed")
    source = tmp_path / "leave.go"
    source.write_text(
        'package main\nimport ("net"; "os")\n'
        'func main() { net.LookupHost("localhost"); os.Exit(3) }\n'
    )
    environment = {**os.environ, "CGO_ENABLED": "1", "GOFLAGS": "-mod=mod"}
    subprocess.run(
        ["go", "build", "-o", "leave", source], cwd=tmp_path, env=environment, check=True
    )
    report = perimortem.report(tmp_path / "leave")
    assert (report["verdict"], report["silent"], report["_status"]) == ("failed-exit", None, 3)
    assert "Go program" in evidence(report)


def test_java_exits_from_a_thread_of_its_virtual_machine(perimortem, tmp_path):
    import shutil
    import subprocess

    if not shutil.which("javac") or not shutil.which("java"):
        pytest.skip("Java is not installed")
    (tmp_path / "J.java").write_text(
        "public class J { public static void main(String[] a) { System.exit(4); } }"
    )
    subprocess.run(["javac", "J.java"], cwd=tmp_path, check=True)
    report = perimortem.report("java", "-cp", tmp_path, "J")
    assert (report["verdict"], report["silent"], report["_status"]) == ("failed-exit", False, 4)
    assert "libjvm.so" in report["where"]["text"]


def test_a_vfork_child_is_not_the_program(perimortem, programs):
    report = perimortem.report(programs / "vfork_exit")
    assert (report["verdict"], report["silent"], report["where"]) == ("clean-exit", False, None)


def test_crash_by_a_fault(perimortem, programs):
    report = perimortem.report(programs / "crash_null")
    assert (report["verdict"], report["silent"]) == ("crash", False)
    assert (report["exit"]["signal_name"], report["_status"]) == ("SIGSEGV", 139)
    assert report["where"]["text"].startswith("SIGSEGV at 0x10 in crash_null+0x")
    if reads_kernel_log():
        assert "segfault at 10" in evidence(report)


def test_crash_by_a_fault_that_no_handler_saw(perimortem, programs):
    report = perimortem.report(programs / "crash_null", options=("--no-crash-handler",))
    assert (report["verdict"], report["silent"], report["dumps"]) == ("crash", True, [])
    if reads_kernel_log():
        assert "segfault at 10" in evidence(report)
        assert report["where"]["text"].startswith("faulted in crash_null")


def test_crash_by_abort_and_by_an_uncaught_exception(perimortem, programs):
    report = perimortem.report(programs / "abort_now")
    assert (report["verdict"], report["exit"]["signal_name"]) == ("crash", "SIGABRT")
    assert report["where"]["text"].startswith("abort called in abort_now+0x")
    report = perimortem.report(programs / "crash_cpp")
    assert (report["verdict"], report["_status"]) == ("crash", 134)
    assert "abort called in libstdc++" in report["where"]["text"]


def start_run(perimortem, *argv, options=()):
    """`run` on a program that prints "ready"; (process, pid of the target)."""
    process = perimortem.start("run", *options, "--report", perimortem.base / "r.json", "--", *argv)
    assert process.stdout.readline() == "ready\n"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    name = Path(argv[0]).name[:15]

    def find():
        for pid in children.read_text().split():
            if Path(f"/proc/{pid}/comm").read_text().strip() == name:
                return int(pid)
        return None

    await_true(find)
    return process, find()


def finish(perimortem, process):
    import json

    _, stderr = process.communicate(timeout=30)
    return json.loads((perimortem.base / "r.json").read_text()), stderr


def test_killed_by_sigkill(perimortem, programs):
    process, pid = start_run(perimortem, programs / "beats")
    os.kill(pid, signal.SIGKILL)
    report, stderr = finish(perimortem, process)
    assert (report["verdict"], report["silent"]) == ("killed", True)
    assert process.returncode == 137
    assert report["target"]["pid"] == pid
    assert report["last_heartbeat"]["name"] == "main"
    assert report["last_heartbeat"]["stale"] is False
    assert report["last_event"]["name"] == "started"
    assert report["last_event"]["payload"] == {"by": "beats"}
    assert "KILLED" in stderr


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_stopped_by_a_request_that_run_passed_on(perimortem, programs, number):
    process, _ = start_run(perimortem, programs / "beats")
    process.send_signal(number)
    report, _ = finish(perimortem, process)
    assert (report["verdict"], report["exit"]["signal"]) == ("stopped", number)
    assert report["exit"]["sender"]["pid"] == os.getpid()
    assert process.returncode == 128 + number


def test_stopped_when_it_exits_by_itself_after_the_request(perimortem):
    script = "trap 'exit 143' TERM; echo ready; while :; do sleep 0.05; done"
    process = perimortem.start(
        "run", "--report", perimortem.base / "r.json", "--", "sh", "-c", script
    )
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    report, _ = finish(perimortem, process)
    assert (report["verdict"], process.returncode) == ("stopped", 143)


def test_a_request_is_passed_on_once(perimortem, programs):
    """Counted by the target: one TERM in, one TERM out."""
    script = "n=0; trap 'n=$((n+1))' TERM; echo ready; sleep 0.7 & wait $!; wait; echo $n; exit $n"
    process = perimortem.start("run", "-q", "--", "bash", "-c", script)
    process.stdout.readline()
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    assert process.returncode == 1


def test_killed_by_a_fatal_signal_that_was_passed_on(perimortem, programs):
    process, _ = start_run(perimortem, programs / "beats")
    process.send_signal(signal.SIGQUIT)
    report, _ = finish(perimortem, process)
    assert (report["verdict"], report["exit"]["signal_name"]) == ("killed", "SIGQUIT")


def test_hang_ended_by_a_signal(perimortem, programs):
    process, pid = start_run(perimortem, programs / "hang_once", "0.3")
    for line in process.stderr:
        if "next" in line:
            break
    os.kill(pid, signal.SIGKILL)
    report, _ = finish(perimortem, process)
    assert (report["verdict"], report["silent"]) == ("hang", True)
    (hang,) = report["hangs"]
    assert [beat["name"] for beat in hang["stopped"]] == ["main"]
    assert hang["still_beating"][0] == "process"
    assert hang["recovered_at"] is None
    assert hang["late_ms"] > 0
    last_beat, detected = (
        datetime.fromisoformat(hang[key]) for key in ("last_beat_at", "detected_at")
    )
    late = detected - last_beat - timedelta(seconds=hang["stopped"][0]["threshold_s"])
    assert late / timedelta(milliseconds=1) == pytest.approx(hang["late_ms"], abs=0.1)
    assert report["last_heartbeat"]["stale"] is True
    (dump,) = report["dumps"]
    assert Path(dump["path"]).stat().st_size == dump["size_bytes"]
    assert Path(dump["path"]).name.endswith(f"-{pid}.dmp")
    assert report["last_event"]["name"] == "before.hang"


def test_silent_crash_when_the_last_beat_was_stale(perimortem, programs):
    """The program stops beating, then exits with status 0 without a goodbye."""
    script = (
        "import perimortem, os, time, ctypes\n"
        "hb = perimortem.attach('work', threshold=0.2); hb.beat(); time.sleep(0.5)\n"
        "ctypes.CDLL(None).syscall(231, 0)\n"  # exit_group: past every _exit
    )
    report = perimortem.report(sys.executable, "-c", script, options=("--no-stacks",))
    assert (report["verdict"], report["_status"]) == ("silent-crash", 0)
    assert report["last_heartbeat"]["name"] == "work"
    assert report["last_heartbeat"]["stale"] is True


def test_launch_failed(perimortem, tmp_path):
    report = perimortem.report("no-such-program-anywhere")
    assert (report["verdict"], report["_status"]) == ("launch-failed", 127)
    assert report["exit"]["kind"] == "not-started"
    script = tmp_path / "script"
    script.write_text("#!/no/such/interpreter\n")
    assert perimortem.report(script)["_status"] == 126
    script.chmod(0o755)
    assert perimortem.report(script)["_status"] == 127
    script.write_bytes(b"\x7fELF garbage")
    assert perimortem.report(script)["_status"] == 126
    assert perimortem.report(tmp_path)["_status"] == 126


needs_cgroup = pytest.mark.skipif(
    os.geteuid() != 0
    or not (
        os.access("/sys/fs/cgroup/memory", os.W_OK) or Path("/sys/fs/cgroup/memory.max").exists()
    ),
    reason="an out-of-memory kill needs root and a memory cgroup",
)


@needs_cgroup
def test_oom_kill(perimortem):
    group = Path("/sys/fs/cgroup/memory") / f"perimortem-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(48 << 20))
        script = f"echo $$ > {group}/cgroup.procs; exec {sys.executable} -c 'bytearray(300 << 20)'"
        report = perimortem.report("sh", "-c", script)
    finally:
        group.rmdir()
    assert (report["verdict"], report["_status"]) == ("oom-kill", 137)
    assert "Killed process" in evidence(report)


def test_a_static_program_is_watched_by_its_exit(perimortem, programs):
    report = perimortem.report(programs / "static_program", 3)
    assert (report["verdict"], report["silent"], report["_status"]) == ("failed-exit", None, 3)
    assert "statically linked" in evidence(report)


def test_a_sanitized_program_starts_and_is_watched_by_its_exit(perimortem, programs):
    report = perimortem.report(programs / "asan_program", 3)
    assert (report["verdict"], report["_status"]) == ("failed-exit", 3)
    assert "libasan" in evidence(report)
    report = perimortem.report("env", "A=1", "nice", "-n", "1", programs / "asan_program", 3)
    assert (report["verdict"], report["_status"]) == ("failed-exit", 3)
    report = perimortem.report("nice", "-n", "1", programs / "asan_program", 3)
    assert (report["verdict"], report["_status"]) == ("failed-exit", 3)


def test_the_agent_follows_an_exec_in_the_same_process(perimortem, programs):
    report = perimortem.report("env", "A=1", "nice", programs / "exit_in_library", "_exit")
    assert report["verdict"] == "silent-crash"
    assert "libsends_it.so" in report["where"]["text"]


@pytest.mark.parametrize(
    "argv", [["env", "-i", "sh", "-c", "exit 3"], ["env", "-u", "LD_PRELOAD", "sh", "-c", "exit 3"]]
)
def test_an_exec_into_a_program_without_the_agent_is_no_silent_crash(perimortem, argv):
    report = perimortem.report(*argv)
    assert (report["verdict"], report["silent"], report["_status"]) == ("failed-exit", None, 3)
    assert "carries no agent" in evidence(report)


def test_a_failed_exec_changes_nothing(perimortem):
    script = "import os\ntry: os.execv('/no/such', ['x'])\nexcept OSError: raise SystemExit(4)"
    report = perimortem.report(sys.executable, "-c", script)
    assert (report["verdict"], report["silent"], report["_status"]) == ("failed-exit", False, 4)


def test_an_exec_without_the_agent_is_a_lost_heartbeat_not_a_hang(perimortem):
    script = (
        "import os, perimortem; perimortem.attach('work', threshold=0.3).beat()\n"
        "os.execve('/bin/sleep', ['sleep', '1.5'], {})"
    )
    report = perimortem.report(sys.executable, "-c", script)
    assert (report["verdict"], report["hangs"]) == ("clean-exit", [])
    assert "carries no agent" in evidence(report)


def test_a_signal_that_was_outlived_is_not_to_blame(perimortem):
    script = "trap 'echo reload' HUP; echo ready; sleep 0.5 & wait $!; wait; exit 6"
    process = perimortem.start(
        "run", "--report", perimortem.base / "r.json", "--", "sh", "-c", script
    )
    process.stdout.readline()
    process.send_signal(signal.SIGHUP)
    report, _ = finish(perimortem, process)
    assert (report["verdict"], report["exit"]["sender"]) == ("failed-exit", None)
    assert "SIGHUP came from process" in evidence(report)


def test_a_reader_that_went_away_is_no_crash(perimortem):
    script = "import os, sys; signal = __import__('signal'); signal.signal(13, signal.SIG_DFL)\n"
    script += "r, w = os.pipe(); os.close(r); os.write(w, b'x')"
    report = perimortem.report(sys.executable, "-c", script)
    assert (report["verdict"], report["exit"]["signal_name"]) == ("failed-exit", "SIGPIPE")


def reads_kernel_log():
    try:
        os.close(os.open("/dev/kmsg", os.O_RDONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


def test_a_fault_signal_that_was_sent_is_not_reported_as_a_fault(perimortem, programs):
    process, pid = start_run(perimortem, programs / "beats", options=("--no-crash-handler",))
    os.kill(pid, signal.SIGSEGV)
    report, stderr = finish(perimortem, process)
    assert report["verdict"] == "crash"
    who = stderr.split("who")[1].split("last")[0]
    if "the kernel logged no fault" in evidence(report):
        assert "itself" not in who
    else:  # it may not be read, or has just logged too much
        assert "[observed" not in who
        assert "[derived" not in who


def test_a_bus_error_is_not_said_to_have_been_sent(perimortem, tmp_path):
    """The kernel logs none, however quiet its log is."""
    script = (
        "import mmap, os, resource; resource.setrlimit(resource.RLIMIT_CORE, (0, 0))\n"
        f"f = os.open({str(tmp_path / 'short')!r}, os.O_RDWR | os.O_CREAT); os.ftruncate(f, 4096)\n"
        "m = mmap.mmap(f, 4096); os.ftruncate(f, 0); m[0]\n"
    )
    report = perimortem.report(sys.executable, "-c", script, options=("--no-crash-handler",))
    assert report["exit"]["signal_name"] == "SIGBUS"
    assert "logged no fault" not in evidence(report)
    assert report["who"]["kind"] == "itself"


def test_a_program_that_was_executed_without_the_agent_has_no_crash_handler(perimortem, programs):
    report = perimortem.report("sh", "-c", f"exec {programs}/static_crash")
    assert (report["verdict"], report["target"]["name"]) == ("crash", "static_crash")
    assert "reached no handler" not in evidence(report)


def test_a_fault_in_another_thread_is_found_in_the_kernels_log(perimortem, programs):
    if not reads_kernel_log():
        pytest.skip("the kernel log cannot be read")
    report = perimortem.report(programs / "crash_in_thread", options=("--no-crash-handler",))
    assert report["where"]["text"].startswith("faulted in crash_in_thread")


def test_a_supervisor_that_ignores_sigchld(perimortem, programs):
    import subprocess

    command = f"trap '' CHLD; exec {sys.executable} -m perimortem run -q -- sh -c 'exit 3'"
    result = subprocess.run(["bash", "-c", command], env=perimortem.env, capture_output=True)
    assert result.returncode == 3, result.stderr


@pytest.mark.parametrize("redirection", ["2>/dev/full", "2>&-", "2>&1 >/dev/null | true"])
def test_the_watch_goes_on_without_a_reader(perimortem, redirection):
    import json
    import subprocess

    command = f"{sys.executable} -m perimortem run -- sh -c 'sleep 0.3; exit 5' {redirection}"
    result = subprocess.run(["bash", "-o", "pipefail", "-c", command], env=perimortem.env)
    assert result.returncode == 5
    (row,) = json.loads(perimortem.call("list", "--json").stdout)
    assert row["verdict"] == "failed-exit"


def test_few_descriptors_are_no_reason_to_leave_the_target_alone(perimortem):
    import subprocess

    for limit in range(10, 26):
        command = f"ulimit -n {limit}; exec {sys.executable} -m perimortem run -q -- sh -c 'exit 5'"
        result = subprocess.run(
            ["bash", "-c", command], env=perimortem.env, capture_output=True, text=True
        )
        assert result.returncode in (5, 125), (limit, result.stderr)
        assert "Traceback" not in result.stderr
