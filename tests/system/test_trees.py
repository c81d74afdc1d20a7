"""Processes make processes: every one is watched, and the first death is identified."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import urllib.error
import urllib.request
from pathlib import Path

import pytest
from conftest import await_true, let_others_in, read_line_with

pytestmark = pytest.mark.system


def find(report, name):
    """The processes of that name."""
    return [process for process in report["processes"] if process["name"] == name[:15]]


@pytest.mark.parametrize("shell", ["bash", "dash"])
def test_a_crashing_child_of_a_shell_is_reported(perimortem, programs, shell):
    report = perimortem.report(shell, "-c", f"{programs}/crash_null; exit 4")
    assert report["_status"] == 4
    (crash,) = find(report, "crash_null")
    assert crash["verdict"] == "crash"
    assert crash["parent_pid"] == report["target"]["pid"]
    shown = json.loads(perimortem.call("show", crash["id"], "--json").stdout)
    assert shown["exit"]["signal"] == signal.SIGSEGV


@pytest.mark.parametrize(
    "wrapper",
    [
        ("env", "A=1"), ("nice",), ("setsid", "-w"), ("stdbuf", "-oL"), ("timeout", "20"),
        ("sh", "-c", '"$@"; exit 3', "sh"), ("env", "nice", "timeout", "20", "sh", "-c", '"$0" "$@"'),
    ],
)  # fmt: skip
def test_a_library_that_ends_the_real_program_is_found_behind_wrappers(
    perimortem, programs, wrapper
):
    report = perimortem.report(*wrapper, programs / "exit_in_library")
    (real,) = find(report, "exit_in_library")
    assert real["verdict"] == "silent-crash"
    assert "libsends_it.so" in real["where"]["text"]


@pytest.mark.parametrize("how", ["fork", "vfork", "posix_spawn", "posix_spawnp", "system", "popen"])
def test_every_way_to_make_a_child(perimortem, programs, how):
    report = perimortem.report(programs / "spawns", how, programs / "exit_in_library")
    assert report["verdict"] == "clean-exit"
    (child,) = find(report, "exit_in_library")
    assert child["verdict"] == "silent-crash"
    assert "libsends_it.so" in child["where"]["text"]


def test_a_forked_child_says_its_own_goodbye_and_not_its_parents(perimortem):
    script = (
        "import ctypes, os, time\n"
        "if os.fork() == 0:\n"
        "    time.sleep(0.1); os._exit(0)\n"
        "os.wait()\n"
        "if os.fork() == 0:\n"
        "    ctypes.CDLL(None)._exit(5)\n"
        "os.wait()\n"
    )
    report = perimortem.report(sys.executable, "-c", script)
    assert (report["verdict"], report["process_count"]) == ("clean-exit", 3)
    assert sorted(p["verdict"] for p in report["processes"][1:]) == ["clean-exit", "silent-crash"]


@pytest.mark.parametrize("method", ["fork", "forkserver", "spawn"])
def test_a_multiprocessing_worker_that_is_killed(perimortem, tmp_path, method):
    (tmp_path / "pool.py").write_text(
        "import multiprocessing as m, os, signal, sys\n"
        "def work(i):\n"
        "    if i == 2: os.kill(os.getpid(), signal.SIGKILL)\n"
        "if __name__ == '__main__':\n"
        "    c = m.get_context(sys.argv[1])\n"
        "    ps = [c.Process(target=work, args=(i,)) for i in range(4)]\n"
        "    for p in ps: p.start()\n"
        "    for p in ps: p.join()\n"
        "    sys.exit(any(p.exitcode for p in ps))\n"
    )
    report = perimortem.report(sys.executable, tmp_path / "pool.py", method)
    assert (report["verdict"], report["_status"]) == ("failed-exit", 1)
    killed = [p for p in report["processes"] if p["verdict"] == "killed"]
    assert len(killed) == 1
    assert report["first_death"]["pid"] == killed[0]["pid"]


def test_the_first_rank_that_died_leads_the_account(perimortem, tmp_path):
    """As torchrun does it: a launcher that ends the others when one has died."""
    (tmp_path / "launch.py").write_text(
        "import os, signal, subprocess, sys\n"
        "w = 'import glob, os, signal, sys, time\\n"
        'if os.environ["RANK"] == "3":\\n'
        ' while len(glob.glob("ready.*")) < 4: time.sleep(0.01)\\n'
        " os.kill(os.getpid(), signal.SIGKILL)\\n"
        "try:\\n"
        ' open("ready." + os.environ["RANK"], "w").close()\\n'
        " time.sleep(60)\\n"
        "except KeyboardInterrupt: sys.exit(1)\\n'\n"
        f"os.chdir({str(tmp_path)!r})\n"
        "ps = [subprocess.Popen([sys.executable, '-c', w], env={**os.environ, 'RANK': str(i),"
        " 'LOCAL_RANK': str(i)}) for i in range(5)]\n"
        "ps[3].wait()\n"
        "for p in ps: p.send_signal(signal.SIGINT)\n"
        "for p in ps: p.wait()\n"
        "sys.exit(1)\n"
    )
    report = perimortem.report(sys.executable, tmp_path / "launch.py")
    first = report["first_death"]
    assert (first["labels"]["RANK"], first["verdict"]) == ("3", "killed")
    assert sum(group["count"] for group in first["followers"]) == 4
    account = report["_stderr"]
    assert "rank 3 (python" in account
    assert "ended by SIGKILL; 4 others exited 1; all within" in account


def test_a_prefork_server_that_loses_a_worker(perimortem, tmp_path):
    """gunicorn: a worker faults in native code, another is ended by a library; the server goes on."""
    pytest.importorskip("gunicorn")
    (tmp_path / "app.py").write_text(
        "import ctypes, os\n"
        "def app(environ, start):\n"
        "    if environ['PATH_INFO'] == '/crash': ctypes.string_at(0)\n"
        "    start('200 OK', []); return [str(os.getpid()).encode()]\n"
    )
    process = perimortem.start(
        "run", "--report", tmp_path / "r.json", "--", sys.executable, "-m", "gunicorn", "-w", "3",
        "--chdir", tmp_path, "-b", "127.0.0.1:0", "app:app",
    )  # fmt: skip
    address = read_line_with(process.stderr, "Listening at: ").split()[-2]

    def get(path):
        return urllib.request.urlopen(address + path, timeout=20).read()

    get("/")
    with pytest.raises((urllib.error.URLError, ConnectionError)):
        get("/crash")
    read_line_with(process.stderr, "CRASH")
    get("/")
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdict"] in ("clean-exit", "stopped")
    crashed = [p for p in report["processes"] if p["verdict"] == "crash"]
    assert len(crashed) == 1
    assert report["process_count"] >= 4


def test_children_that_support_no_preload_start_and_are_watched(perimortem, programs):
    """A sanitizer's program, a static one: by exec in the same process and as children."""
    for name in ("asan_program", "static_program"):
        for script in (f"{programs}/{name} 3; exit $?", f"exec {programs}/{name} 3"):
            report = perimortem.report("sh", "-c", script)
            assert (report["_status"], report["verdict"]) == (3, "failed-exit"), report["_stderr"]
            assert "ASan" not in report["_stderr"]
            assert "cannot be preloaded" not in report["_stderr"]


@pytest.mark.parametrize(
    ("how", "name"),
    [
        ("os.execv(program, ['another', '1'])", "static_crash"),
        ("os.execvp('static_crash', ['another'])", "static_crash"),
        ("os.execve(os.open(program, os.O_RDONLY), ['another'], {})", "(unknown program)"),
    ],
)
def test_a_crash_right_after_an_exec_without_the_agent_has_the_name_of_its_program(
    perimortem, programs, how, name
):
    """It was met before that, under the name and the command line of its parent."""
    program = programs / "static_crash"
    script = (
        f"import os; program = {str(program)!r}\n"
        f"os.environ['PATH'] = {str(programs)!r}\n"
        "def start():\n"
        "    child = os.fork()\n"
        f"    if child == 0: {how}\n"
        "    os.waitpid(child, 0)\n"
        "for _ in range(5): start()\n"
    )
    report = perimortem.report(sys.executable, "-c", script)
    crashes = [p for p in report["processes"] if p["verdict"] == "crash"]
    assert {p["name"] for p in crashes} <= {name, "static_crash"}
    assert all("-c" not in p["command_line"] for p in crashes)
    assert len(crashes) == 5


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root to make a setuid program")
def test_a_setuid_child_of_another_user(perimortem, programs, tmp_path):
    let_others_in(tmp_path)
    program = tmp_path / "becomes_root"
    shutil.copy(programs / "exit_status", program)
    program.chmod(0o4755)
    script = (
        "import os, subprocess, sys\n"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534)\n"
        f"sys.exit(subprocess.run([{str(program)!r}, '6']).returncode)\n"
    )
    report = perimortem.report("/usr/bin/env", "python3", "-c", script)
    assert report["_status"] == 6
    assert "cannot be preloaded" not in report["_stderr"]


def test_a_child_in_a_chroot_gets_no_preload_that_is_not_there(perimortem, programs, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root for chroot")
    shutil.copy(programs / "static_program", tmp_path / "prog")
    for library in ("/lib/x86_64-linux-gnu/libc.so.6", "/lib64/ld-linux-x86-64.so.2"):
        if Path(library).exists():
            (tmp_path / library[1:]).parent.mkdir(parents=True, exist_ok=True)
            shutil.copy(library, tmp_path / library[1:])
    shutil.copy(programs / "exit_status", tmp_path / "dynamic")
    script = f"import os; os.chroot({str(tmp_path)!r}); os.execv('/dynamic', ['dynamic', '7'])"
    report = perimortem.report(sys.executable, "-c", script)
    assert report["_status"] == 7
    assert "cannot be preloaded" not in report["_stderr"]


@pytest.mark.parametrize(("how", "verdict"), [("0", "clean-exit"), ("crash", "crash")])
def test_a_daemon_is_watched_to_its_end(perimortem, programs, how, verdict):
    """Forked twice, its own session, no descriptors, no environment: it is still our descendant."""
    report = perimortem.report(programs / "daemonize", how, options=("--wait", "all"))
    assert (report["verdict"], report["_status"]) == ("clean-exit", 0)
    assert report["process_count"] == 3
    daemon = [p for p in report["processes"] if p["verdict"] == verdict and p["parent_pid"]]
    assert daemon
    assert all(p["ended_at"] for p in report["processes"])


def test_what_is_left_running_is_named_and_left(perimortem):
    script = "sleep 30 >/dev/null 2>&1 & echo $!"
    result = perimortem.call("run", "--", "sh", "-c", script)
    pid = int(result.stdout)
    os.kill(pid, 0)
    os.kill(pid, signal.SIGKILL)
    assert f"sleep[{pid}] still runs and is no longer watched" in result.stderr


def test_changed_uid_and_cleared_environment(perimortem):
    if os.geteuid() != 0:
        pytest.skip("needs root to become another user")
    script = (
        "import os, time\n"
        "if os.fork() == 0:\n"
        "    os.setgroups([]); os.setgid(65534); os.setuid(65534); os.environ.clear()\n"
        "    time.sleep(0.1); os.abort()\n"
        "os.wait()\n"
        "os.execve('/bin/sh', ['sh', '-c', 'exit 5'], {})\n"
    )
    report = perimortem.report(sys.executable, "-c", script)
    assert (report["verdict"], report["_status"]) == ("failed-exit", 5)
    (aborted,) = [p for p in report["processes"] if p["verdict"] == "crash"]
    assert aborted["exit"]["text"].startswith("ended by SIGABRT")


def test_2000_short_lived_processes(perimortem):
    script = "i=0; while [ $i -lt 2000 ]; do /bin/true; i=$((i+1)); done"
    report = perimortem.report("sh", "-c", script)
    assert report["verdict"] == "clean-exit"
    assert report["process_count"] == 2001
    assert {p["verdict"] for p in report["processes"]} <= {"clean-exit", "unknown"}
    assert list(perimortem.run_dir.iterdir()) == []


def test_a_fork_bomb_that_its_limit_stops(perimortem):
    """512 processes at once, more than some limits allow; the monitor must survive."""
    script = "import os, time\nfor i in range(9): os.fork()\ntime.sleep(0.5)\n"
    report = perimortem.report(sys.executable, "-c", script)
    assert report["verdict"] == "clean-exit"
    assert report["process_count"] == 512


def test_hostile_names_in_the_tree(perimortem, programs, tmp_path):
    bad = tmp_path / "a\nb\x1b[31mc"
    shutil.copy(programs / "crash_null", bad)
    report = perimortem.report("sh", "-c", '"$0"', bad)
    assert "\x1b" not in report["_stderr"]
    assert "a\\nb\\e[31mc" in report["_stderr"]


def test_without_follow_children_are_left_alone(perimortem, programs):
    report = perimortem.report(
        "sh", "-c", f"{programs}/crash_null; exit 0", options=("--no-follow",)
    )
    assert (report["process_count"], len(report["processes"])) == (1, 1)


def test_a_run_below_a_run_watches_its_own(perimortem, programs):
    inner = [sys.executable, "-m", "perimortem", "run", "-q", "--", str(programs / "crash_null")]
    report = perimortem.report(*inner)
    assert report["_status"] == 139
    assert [p["verdict"] for p in find(report, "crash_null")] == ["crash"]
    assert "KILLED" not in report["_stderr"]


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a pid namespace")
def test_as_pid_1_it_reaps_orphans(perimortem):
    """In a separate pid namespace: twenty orphans die, and none stays a zombie."""
    script = (
        "for i in $(seq 20); do (sleep 0.0$i &) ; done; "
        "for i in $(seq 100); do n=$(grep -l 'State:.Z' /proc/[0-9]*/status 2>/dev/null | wc -l); "
        "[ $i -gt 20 ] && [ $n -eq 0 ] && exit 0; sleep 0.1; done; exit 1"
    )
    command = ["unshare", "-p", "-f", "--mount-proc", sys.executable, "-m", "perimortem", "run",
               "-q", "--", "sh", "-c", script]  # fmt: skip
    result = subprocess.run(command, env=perimortem.env, capture_output=True, text=True, timeout=60)
    if "unshare failed" in result.stderr:
        pytest.skip("no pid namespaces here")
    assert result.returncode == 0, result.stderr


def test_a_member_that_deadlocks_is_reported_and_dumped(perimortem, programs):
    process = perimortem.start(
        "run", "--threshold", "3", "--no-stacks", "--", "sh", "-c", f"{programs}/deadlock; true"
    )
    assert "deadlock[" in read_line_with(process.stderr, "HANG")
    dump = read_line_with(process.stderr, "dump ")
    assert "deadlock-" in dump
    await_true(lambda: list(perimortem.data_dir.glob("dumps/deadlock-*.dmp")))
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    for pid in children:
        for child in Path(f"/proc/{pid}/task/{pid}/children").read_text().split():
            os.kill(int(child), signal.SIGKILL)
    process.communicate(timeout=20)


# Bugs found by searching


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a pid namespace")
@pytest.mark.parametrize("options", [(), ("--mount-proc",)])
def test_another_pid_namespace_is_not_the_machine(perimortem, options):
    """Pid 1 in there is not pid 1 out here: no other process is adopted."""
    command = ("unshare", "-p", "-f", *options, "bash", "-c", "(sleep 0.5; exit 3) & wait; true")
    report = perimortem.report(*command)
    if "unshare failed" in report["_stderr"]:
        pytest.skip("no pid namespaces here")
    assert (report["_status"], report["verdict"]) == (0, "clean-exit")
    assert report["process_count"] < 6
    assert all(process["pid"] != 1 for process in report["processes"])


def test_a_daemon_that_outlives_its_monitor_leaves_no_files(perimortem, tmp_path):
    """It forks on and on once the monitor is gone; no process is left to remove its recorders."""
    go_on, done = tmp_path / "go-on", tmp_path / "done"
    os.mkfifo(go_on)
    forks = f"read < {go_on}; for i in $(seq 40); do (true); done; echo > {done}"
    script = f"({forks}) >/dev/null 2>&1 & exit 0"
    perimortem.call("run", "-q", "--", "bash", "-c", script)
    go_on.write_text("\n")
    await_true(done.exists)
    assert len(list(perimortem.run_dir.iterdir())) <= 2


def test_the_hung_process_is_dumped_and_not_its_only_child(perimortem, programs):
    report = perimortem.report(
        programs / "deadlock", "child",
        options=("--threshold", "3", "--on-hang", "kill", "--no-stacks"),
    )  # fmt: skip
    assert report["dumps"][0]["thread_count"] == 2
    assert f"-{report['target']['pid']}.dmp" in report["dumps"][0]["path"]
    assert report["first_death"] is None


def test_a_command_has_ended_even_if_its_children_run_on(perimortem, tmp_path):
    """One that forks without end is left behind."""
    script = (
        "import os, sys, time\n"
        "if os.fork(): os._exit(0)\n"
        "os.setsid()\n"
        "for i in (1, 2): os.dup2(os.open('/dev/null', os.O_WRONLY), i)\n"
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(os.getpid()))\n"
        "end = time.monotonic() + 30\n"
        "while time.monotonic() < end:\n"
        "    pid = os.fork()\n"
        "    if pid == 0: os._exit(0)\n"
        "    os.waitpid(pid, 0)\n"
    )
    perimortem.call(
        "run",
        "-q",
        "--",
        sys.executable,
        "-c",
        script,
    )
    await_true((tmp_path / "pid").exists)
    os.kill(int((tmp_path / "pid").read_text()), signal.SIGKILL)  # still there


@pytest.mark.skipif(os.geteuid() != 0, reason="needs the proc connector")
def test_a_parent_that_answers_at_once_is_not_the_first(perimortem):
    for _ in range(5):
        report = perimortem.report("bash", "-c", "(kill -SEGV $BASHPID); exit 3")
        assert report["first_death"]["verdict"] == "crash"


def test_orphans_without_the_agent_are_watched_to_their_end(perimortem):
    script = "(sleep 0.7; kill -SEGV $BASHPID) >/dev/null 2>&1 & exit 0"
    report = perimortem.report("env", "-i", "/bin/bash", "-c", script, options=("--wait", "all"))
    assert "crash" in [process["verdict"] for process in report["processes"]]


def test_a_failed_exec_in_a_forked_child_is_no_silent_crash(perimortem):
    script = (
        "import subprocess\n"
        "try: subprocess.run(['/no/such/program'], preexec_fn=lambda: None)\n"
        "except OSError: pass\n"
    )
    report = perimortem.report(sys.executable, "-c", script)
    assert "silent-crash" not in [process["verdict"] for process in report["processes"]]


def test_a_fork_in_a_chroot_makes_no_files_there(perimortem, tmp_path):
    if os.geteuid() != 0:
        pytest.skip("needs root for chroot")
    jail = tmp_path / "jail"
    jail.mkdir()
    script = (
        f"import os; os.chroot({str(jail)!r}); os.chdir('/')\n"
        "for _ in range(3):\n"
        "    if os.fork() == 0: os._exit(0)\n"
        "    os.wait()\n"
    )
    assert perimortem.report(sys.executable, "-c", script)["verdict"] == "clean-exit"
    assert list(jail.iterdir()) == []


def test_a_large_environment_and_a_program_that_supports_no_preload(perimortem, programs):
    perimortem.environment |= {f"VARIABLE_{i}": "x" for i in range(3000)}
    report = perimortem.report("sh", "-c", f"{programs}/asan_program 3; exit $?")
    assert (report["_status"], "ASan" in report["_stderr"]) == (3, False)
