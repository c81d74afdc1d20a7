"""Who did it: the kernel's reports of signals, of a lack of memory, of forbidden system calls."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import await_true, let_others_in

from perimortem.exits.linux.signal_trace import SignalTrace, parse_signals, parse_victim

pytestmark = pytest.mark.system


def can_trace():
    try:
        SignalTrace().close()
    except OSError:
        return False
    return True


needs_trace = pytest.mark.skipif(
    not can_trace(), reason="tracefs takes root, outside of containers"
)


def start_traced(perimortem, *argv, options=()):
    """(`run`, pid of the command), once signals are traced."""
    command = perimortem.start(
        "run", *options, "--report", perimortem.base / "r.json", "--",
        "sh", "-c", 'echo $$; exec "$0" "$@"', *argv,
    )  # fmt: skip
    pid = int(command.stdout.readline())
    descriptors = Path(f"/proc/{command.pid}/fd")

    def is_traced():
        for path in descriptors.iterdir():
            with suppress(OSError):  # closed meanwhile
                if os.readlink(path).endswith("trace_pipe"):
                    return True
        return False

    await_true(is_traced)
    return command, pid


def finish(perimortem, command):
    _, stderr = command.communicate(timeout=60)
    return json.loads((perimortem.base / "r.json").read_text()), stderr


def evidence(report):
    return "\n".join(f"{e['fact']} [{e['source']}]" for e in report["evidence"])


@needs_trace
def test_the_sender_of_a_sigkill_is_named(perimortem):
    command, pid = start_traced(perimortem, "sleep", "60")
    killer = subprocess.Popen(["bash", "-c", f"kill -9 {pid}; exit 0"])
    killer.wait()
    report, stderr = finish(perimortem, command)
    assert (report["verdict"], report["exit"]["signal"]) == ("killed", signal.SIGKILL)
    assert report["exit"]["sender"] == {"pid": killer.pid, "uid": None, "name": "bash"}
    assert f"SIGKILL came from process {killer.pid} (bash)" in evidence(report)
    assert f"process {killer.pid} (bash), by SIGKILL  [observed: tracefs]" in stderr


@needs_trace
@pytest.mark.parametrize(
    ("name", "verdict"),
    [("KILL", "killed"), ("TERM", "stopped"), ("SEGV", "crash"), ("USR1", "crash")],
)
def test_a_process_that_signals_itself(perimortem, tmp_path, name, verdict):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    script = f"read line < {gate}; kill -{name} $$"
    command, _ = start_traced(perimortem, "dash", "-c", script, options=("--no-agent",))
    gate.write_text("go\n")
    report, stderr = finish(perimortem, command)
    assert report["verdict"] == verdict
    assert (report["who"]["kind"], report["who"]["how"]) == ("itself", "signal")
    assert f"itself, by SIG{name}  [observed: tracefs]" in stderr
    assert report["exit"]["sender"] is None


TIMER = """
import ctypes, signal, sys, time
libc = ctypes.CDLL(None)
timer = ctypes.c_void_p()
assert libc.timer_create(1, None, ctypes.byref(timer)) == 0  # SIGALRM
sys.stdin.readline()
times = (ctypes.c_long * 4)(0, 0, 0, 50_000_000)
assert libc.timer_settime(timer, 0, times, None) == 0
time.sleep(60)
"""


@needs_trace
def test_a_timers_signal_is_not_that_of_the_process_it_interrupts(perimortem, tmp_path):
    gate = tmp_path / "gate"
    os.mkfifo(gate)
    command, _ = start_traced(
        perimortem, "sh", "-c", f'exec "$0" -c "$1" < {gate}', sys.executable, TIMER
    )
    bystanders = [
        subprocess.Popen([sys.executable, "-c", "while True: pass"])
        for _ in range(2 * os.cpu_count())
    ]
    try:
        gate.write_text("go\n")
        report, _ = finish(perimortem, command)
    finally:
        for bystander in bystanders:
            bystander.kill()
            bystander.wait()
    assert report["exit"]["signal_name"] == "SIGALRM"
    assert report["who"]["kind"] != "process"


def ignores(pid, number):
    text = Path(f"/proc/{pid}/status").read_text()
    return bool(int(text.split("SigIgn:")[1].split()[0], 16) >> (number - 1) & 1)


@needs_trace
def test_asked_to_stop_and_then_killed_as_a_service_manager_does(perimortem):
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(60)"
    command, pid = start_traced(perimortem, "python3", "-c", code)
    await_true(lambda: ignores(pid, signal.SIGTERM))
    os.kill(pid, signal.SIGTERM)
    os.kill(pid, signal.SIGKILL)
    report, _ = finish(perimortem, command)
    assert report["verdict"] == "killed"
    facts = [e["fact"] for e in report["evidence"] if e["source"] == "tracefs"]
    assert [fact.split()[0] for fact in facts] == ["SIGTERM", "SIGKILL"]
    assert f"process {os.getpid()} " in facts[0]


@needs_trace
def test_a_signal_that_was_passed_on_has_its_original_sender(perimortem):
    command, _ = start_traced(perimortem, "sleep", "60")
    command.send_signal(signal.SIGTERM)
    report, _ = finish(perimortem, command)
    assert (report["verdict"], report["exit"]["sender"]["pid"]) == ("stopped", os.getpid())
    assert "tracefs" not in evidence(report)


@needs_trace
def test_the_instance_goes_with_the_monitor(perimortem):
    command, pid = start_traced(perimortem, "sleep", "60")
    os.kill(pid, signal.SIGKILL)
    finish(perimortem, command)
    from perimortem.exits.linux import tracefs

    root = tracefs._open_root()
    try:
        name = f"perimortem-{command.pid}"
        await_true(lambda: name not in list_names(root))
    finally:
        os.close(root)


def list_names(root):
    instances = os.open("instances", os.O_RDONLY, dir_fd=root)
    try:
        return os.listdir(instances)
    finally:
        os.close(instances)


def test_without_the_right_it_says_so(perimortem):
    if os.geteuid() != 0:
        pytest.skip("runs as another user, which takes root")
    let_others_in(perimortem.base)
    perimortem.base.chmod(0o777)
    result = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m",
         "perimortem", "run", "--", "sh", "-c", "sleep 0.4; kill -9 $$"],
        env=perimortem.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "KILLED" in result.stderr, result.stderr
    shown = subprocess.run(
        ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", sys.executable, "-m",
         "perimortem", "show"],
        env=perimortem.env, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert "the sender could not be traced: " in shown.stdout


def test_a_system_call_that_a_filter_forbids(perimortem, programs):
    report = perimortem.report(programs / "seccomp_kill")
    assert (report["verdict"], report["exit"]["signal_name"]) == ("crash", "SIGSYS")
    assert "refused by seccomp" in report["exit"]["text"]
    assert report["crash"] is None  # under a filter the handler stands aside
    (fact,) = [fact for fact in report["evidence"] if fact["code"] == "seccomp"] or [None]
    if fact is None:
        pytest.skip("the kernel log may not be read, or does not have it")
    assert fact["fact"].startswith("getpgid (system call 121) is not allowed: ")


BUSY = "import resource\nresource.setrlimit(resource.RLIMIT_CPU, (1, {hard}))\nwhile True: pass"


@pytest.mark.parametrize(("hard", "name"), [(1, "SIGKILL"), (9, "SIGXCPU")])
def test_a_limit_of_processor_time(perimortem, hard, name):
    report = perimortem.report(sys.executable, "-c", BUSY.format(hard=hard))
    assert report["exit"]["signal_name"] == name
    assert (report["who"]["kind"], report["who"]["how"]) == ("kernel", "rlimit")
    # The time that is shown may be less than what the kernel counted: then it is probable only.
    assert report["who"]["confidence"] in ("derived", "assumed")
    (fact,) = [fact for fact in report["evidence"] if fact["code"] == "limit-reached"]
    assert fact["fact"].endswith("its limit is 1 s (RLIMIT_CPU, ulimit -t)")
    assert "sender-unseen" not in [fact["code"] for fact in report["evidence"]]


def test_a_sigkill_is_not_that_of_a_limit_that_was_not_reached(perimortem):
    limit = "import os, resource\nresource.setrlimit(resource.RLIMIT_CPU, (99, 99))\n"
    report = perimortem.report(sys.executable, "-c", limit + "os.kill(os.getpid(), 9)")
    assert report["who"]["how"] != "rlimit"


def test_a_limit_of_file_size(perimortem, tmp_path):
    write = f"ulimit -f 8; exec dd if=/dev/zero of={tmp_path}/file bs=4096 count=99"
    report = perimortem.report("sh", "-c", write)
    assert report["exit"]["signal_name"] == "SIGXFSZ"
    assert (report["who"]["kind"], report["who"]["how"]) == ("kernel", "rlimit")
    (fact,) = [fact for fact in report["evidence"] if fact["code"] == "limit-reached"]
    assert fact["values"]["value"] == 8 * 512


MEMORY = Path("/sys/fs/cgroup/memory")


@pytest.mark.skipif(
    os.geteuid() != 0 or not (MEMORY / "memory.oom_control").exists(),
    reason="no memory cgroup (version 1) to use",
)
def test_the_out_of_memory_killer(perimortem):
    """Monitor and target share a group, which has room for the one; the other is named as the victim."""
    group = MEMORY / f"perimortem-test-{os.getpid()}"
    group.mkdir()
    (group / "memory.limit_in_bytes").write_text(str(256 << 20))
    target = "echo 1000 > /proc/self/oom_score_adj; exec python3 -c 'x = bytearray(1 << 30)'"
    inside = f"echo $$ > {group}/cgroup.procs; exec {sys.executable} -m perimortem run -q --report"
    try:
        report_path = perimortem.base / "r.json"
        result = subprocess.run(
            ["sh", "-c", f'{inside} {report_path} -- sh -c "{target}"'],
            env=perimortem.env, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        report = json.loads(report_path.read_text())
        assert report["verdict"] == "oom-kill", (report["evidence"], result.stderr)
        assert "counted one out-of-memory kill" in evidence(report)
        assert "limit 256 MiB, 256 MiB used at most" in evidence(report)
        result = subprocess.run(
            ["sh", "-c", f"{inside.replace(' -q', '')} {report_path} -- sh -c \"({target}); exit 3\""],
            env=perimortem.env, capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        said = " ".join(result.stderr.split())
        assert "was killed by the kernel: out of memory (its memory cgroup /perimortem" in said
        assert "limit 256 MiB, 256 MiB used at most)" in said, said
    finally:
        await_true(lambda: not (group / "cgroup.procs").read_text().strip())
        group.rmdir()


GROWS = "import sys\nprint('on', flush=True)\nsys.stdin.readline()\nbytearray(1 << 30)"


@pytest.mark.skipif(
    os.geteuid() != 0 or not (MEMORY / "memory.oom_control").exists(),
    reason="no memory cgroup (version 1) to use",
)
def test_the_out_of_memory_killer_after_the_monitor(perimortem):
    """As with memory.oom.group, which kills both: the next start finds the kill in the kernel's log."""
    group = MEMORY / f"perimortem-test-{os.getpid()}"
    group.mkdir()
    try:
        (group / "memory.limit_in_bytes").write_text(str(256 << 20))
        monitor = perimortem.start(
            "run", "--", "sh", "-c",
            f'echo $$ > {group}/cgroup.procs; exec {sys.executable} -c "{GROWS}"',
            stdin=subprocess.PIPE,
        )  # fmt: skip
        assert monitor.stdout.readline() == "on\n"
        monitor.kill()
        monitor.wait()
        monitor.stdin.write("\n")
        monitor.stdin.flush()
        assert monitor.stdout.read() == ""
        await_true(lambda: not (group / "cgroup.procs").read_text().strip())
    finally:
        group.rmdir()

    def is_reported():
        perimortem.call("run", "-q", "--", "true")
        return json.loads(perimortem.call("list", "--json").stdout)

    await_true(is_reported)
    (row,) = json.loads(perimortem.call("list", "--json").stdout)
    report = json.loads(perimortem.call("show", "--json", row["number"]).stdout)
    assert report["verdict"] == "oom-kill", report["evidence"]
    assert "Killed process" in evidence(report)


GENERATED = "signal_generate: sig={} errno=0 code={} comm={} pid=42 grp=1 res=0"
LINES = [
    f"            bash-15717   [001] d..3.  1234.567890: {GENERATED.format(9, 0, 'a b')}",
    f"   a-b [x] c-7-9       [000] .....    12.000001: {GENERATED.format(15, -6, ')')}",
    f"            self-42      [001] d..3.  1234.567890: {GENERATED.format(6, -6, 'self')}",
    f"            self-42      [001] d..3.  1234.567890: {GENERATED.format(25, 0, 'self')}",
    f"       bystander-8       [001] d.h3.  1234.567890: {GENERATED.format(14, -2, 'self')}",
    "noise",
    "          python3-77     [000] .....    13.500000: mark_victim: pid=42 comm=python3 uid=0",
]


def test_lines_of_the_trace():
    signals = parse_signals(LINES, {42})
    assert [(s.signal, s.sender_pid, s.sender_name, s.is_own) for s in signals] == [
        (9, 15717, "bash", False),
        (15, 9, "a-b [x] c-7", False),
        (6, 42, "self", True),
    ]
    assert signals[0].at_ns == 1_234_567_890_000
    assert parse_signals(LINES, {43}) == ()
    assert "comm=python3" in (parse_victim(LINES, 42) or "")
    assert parse_victim(LINES, 4) is None
