"""Heartbeats of programs that cannot be recompiled: each source reports the deadlock that it can see."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from conftest import await_true, read_line_with

from perimortem.beats.process_state import ProcessStateBeat
from perimortem.beats.progress import Progress
from perimortem.proc import find_process, read_stat

pytestmark = pytest.mark.system

QUICK = ("--no-stacks", "--dump-type", "none")


def stopped(report):
    """The heartbeats that stopped in its first hang."""
    return [beat["name"] for beat in report["hangs"][0]["stopped"]] if report["hangs"] else []


# progress


def test_a_deadlock_of_a_program_that_does_not_use_perimortem(perimortem, programs):
    report = perimortem.report(
        programs / "deadlock", options=("--threshold", "3", "--on-hang", "kill", "--no-stacks")
    )
    assert (report["verdict"], report["_status"]) == ("hang", 124)
    assert stopped(report) == ["progress"]
    assert "deadlock of 2 threads of deadlock[" in report["hangs"][0]["state"]
    assert report["dumps"][0]["thread_count"] == 2
    assert "perimortem, by SIGKILL, because of --on-hang" in report["_stderr"]


IDLE = (
    "import threading, queue, time\n"
    "threading.Thread(target=queue.Queue().get, daemon=True).start()\n"
    "threading.Event().wait(5)\n"
)


@pytest.mark.parametrize(
    "argv",
    [["idle_threads", "5"], ["sleep", "5"], ["sh", "-c", "sleep 5; true"],
     [sys.executable, "-c", IDLE], ["sh", "-c", "sleep 5 | cat"]],
    ids=lambda argv: argv[0].rsplit("/")[-1],
)  # fmt: skip
def test_idle_is_not_hung(perimortem, programs, argv):
    if (programs / argv[0]).exists():
        argv = [programs / argv[0], *argv[1:]]
    report = perimortem.report(*argv, options=("--threshold", "progress=1.5", *QUICK))
    assert (report["verdict"], report["hangs"]) == ("clean-exit", [])


def test_asked_for_by_name_progress_is_of_the_whole_tree(perimortem, programs):
    """A shell that waits for a busy child is no hang; when nothing runs any more it is one."""
    script = "import time; e = time.monotonic() + 4\nwhile time.monotonic() < e: pass"
    busy = f"{sys.executable} -c '{script}'"
    strict = ("--beat-from", "progress", "--threshold", "progress=1.5", *QUICK)
    report = perimortem.report("sh", "-c", f"{busy}; true", options=strict)
    assert report["hangs"] == []
    report = perimortem.report("sh", "-c", "sleep 4; true", options=strict)
    assert stopped(report) == ["progress"]


# output


def test_output_that_stops(perimortem):
    script = "import time\nfor i in range(5): print(i, flush=True); time.sleep(0.1)\ntime.sleep(60)"
    report = perimortem.report(
        sys.executable, "-c", script,
        options=("--beat-from", "output", "--threshold", "output=1", "--on-hang", "abort", *QUICK),
    )  # fmt: skip
    assert (report["_status"], stopped(report)) == (124, ["output"])
    assert report["exit"]["signal"] == signal.SIGABRT


def test_output_arrives_unchanged_and_json_lines_are_events(perimortem):
    script = (
        "import os, sys, json\n"
        "os.write(1, bytes(range(256)) * 1000)\n"
        "print()\n"
        "print(json.dumps({'event': 'train.step', 'loss': 0.5}))\n"
        "os.write(2, b'to stderr')\n"
    )
    path = perimortem.base / "r.json"
    result = subprocess.run(
        [sys.executable, "-m", "perimortem", "run", "-q", "--beat-from", "output", "--report", path,
         "--", sys.executable, "-c", script], env=perimortem.env, capture_output=True, timeout=60,
    )  # fmt: skip
    assert result.stdout[:256000] == bytes(range(256)) * 1000
    assert result.stderr == b"to stderr"
    report = json.loads(path.read_text())
    assert report["last_event"]["name"] == "train.step"
    assert report["last_event"]["payload"]["loss"] == 0.5


def test_a_line_of_100_mb(perimortem):
    script = "import os\nfor _ in range(1600): os.write(1, b'x' * 65536)\n"
    process = perimortem.start(
        "run", "-q", "--beat-from", "output", "--", sys.executable, "-c", script,
        stdout=subprocess.DEVNULL,
    )  # fmt: skip
    largest = 0
    while process.poll() is None:
        status = Path(f"/proc/{process.pid}/status").read_text()
        largest = max([largest, *(int(w.split()[1]) for w in status.splitlines() if "VmHWM" in w)])
        time.sleep(0.01)
    assert process.returncode == 0
    assert largest < 100_000  # kB


def test_a_pipe_is_warned_of_and_a_pty_is_given_when_asked(perimortem):
    script = "import sys; print(sys.stdout.isatty())"
    beat = ("run", "--beat-from", "output")
    result = perimortem.call(*beat, "--", sys.executable, "-c", script)
    assert "many programs buffer" in result.stderr
    assert result.stdout == "False\n"
    result = perimortem.call(*beat, "--pty", "--", sys.executable, "-c", script)
    assert "many programs buffer" not in result.stderr
    assert result.stdout == "True\n"


def test_a_program_gets_sigpipe_when_our_reader_exits(perimortem):
    process = subprocess.run(
        f"{sys.executable} -m perimortem run -q --beat-from output -- yes | head -1; "
        "echo ${PIPESTATUS[0]}",
        shell=True, executable="/bin/bash", env=perimortem.env, capture_output=True, text=True,
        timeout=60,
    )  # fmt: skip
    assert process.stdout.split()[0] == "y"
    assert int(process.stdout.split()[1]) in (141, 1)


# file


def test_a_file_that_is_written_no_more(perimortem, tmp_path):
    beats = tmp_path / "job.log"
    script = f"for i in 1 2 3 4 5 6 7 8 9 10; do echo $i >> {beats}; sleep 0.2; done; exec sleep 60"
    report = perimortem.report(
        "sh", "-c", script,
        options=("--beat-from", f"file:{beats}", "--threshold", "file:job.log=1.5", "--on-hang",
                 "kill", *QUICK),
    )  # fmt: skip
    assert (report["_status"], stopped(report)) == (124, ["file:job.log"])
    lasted = report["ended_at"] > report["started_at"]
    assert lasted


# sd_notify

NOTIFIER = """
import os, socket, sys, time
path = os.environ["NOTIFY_SOCKET"]
s = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
s.connect("\\0" + path[1:] if path[0] == "@" else path)
def say(text): s.send(text if isinstance(text, bytes) else text.encode())
"""
SD = ("--beat-from", "sd-notify", "--threshold", "watchdog=1", *QUICK)


def notify(perimortem, script, options=SD):
    return perimortem.report(sys.executable, "-c", NOTIFIER + script, options=options)


def test_the_watchdog_of_a_daemon_that_hangs(perimortem):
    report = notify(
        perimortem,
        "assert os.environ['WATCHDOG_USEC'] == '1000000' and 'WATCHDOG_PID' not in os.environ\n"
        "say('READY=1\\nSTATUS=serving')\n"
        "for _ in range(5): say('WATCHDOG=1'); time.sleep(0.1)\n"
        "say('STATUS=last words'); time.sleep(3)\n",
    )
    assert (report["verdict"], stopped(report)) == ("clean-exit", ["watchdog"])
    assert "its last status was: last words" in report["hangs"][0]["state"]
    assert "sd.ready" in [event["name"] for event in report["recent_events"]]


@pytest.mark.parametrize(
    ("script", "hangs"),
    [
        ("say('READY=1'); time.sleep(2.5)", []),
        ("say('WATCHDOG=1\\nEXTEND_TIMEOUT_USEC=5000000'); time.sleep(2.5)", []),
        ("say('WATCHDOG=1'); say('STOPPING=1'); time.sleep(2.5)", []),
        ("say('WATCHDOG=1\\nWATCHDOG_USEC=9000000'); time.sleep(0.1); os._exit(0)", []),
        (
            "say('READY=1\\nWATCHDOG=1'); say('WATCHDOG=trigger'); time.sleep(1)",
            ["watchdog trigger"],
        ),
    ],
    ids=["ready-only", "extend", "stopping", "usec", "trigger"],
)
def test_what_a_daemon_may_say(perimortem, script, hangs):
    assert stopped(notify(perimortem, script)) == hangs


def test_garbage_and_a_megabyte_on_the_socket(perimortem):
    report = notify(
        perimortem,
        "for _ in range(300): say(os.urandom(3000))\n"
        "s.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 21)\n"
        "for size in (100_000, 1 << 20):\n"
        "    try: say(b'WATCHDOG=1' + b'x' * size)\n"
        "    except OSError: pass\n"
        "say('MAINPID=1\\nWATCHDOG_USEC=99999999999999999999\\nEXTEND_TIMEOUT_USEC=-1')\n"
        "socket.send_fds(s, [b'FDSTORE=1'], [0, 1, 2])\n"
        "say('READY=1')\n",
    )
    assert (report["verdict"], report["hangs"]) == ("clean-exit", [])
    assert any("too long" in error for error in report["soft_errors"])


def test_messages_go_on_to_the_supervisor_above(perimortem, tmp_path):
    """`run` as a Type=notify service: all but MAINPID arrives, a barrier is passed on, and answered."""
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as above:
        above.bind(path)
        perimortem.environment["NOTIFY_SOCKET"] = path
        read_fd, write_fd = os.pipe()
        script = (
            "say(f'MAINPID={os.getpid()}\\nREADY=1')\n"
            "r, w = os.pipe()\n"
            "socket.send_fds(s, [b'BARRIER=1'], [w]); os.close(w)\n"
            "assert os.read(r, 1) == b''; print('barrier passed', flush=True)\n"
        )
        process = perimortem.start("run", "-q", "--", sys.executable, "-c", NOTIFIER + script)
        above.settimeout(20)
        assert above.recv(4096) == b"READY=1"
        message, fds, _, _ = socket.recv_fds(above, 4096, 4)
        assert (message, len(fds)) == (b"BARRIER=1", 1)
        for fd in (*fds, read_fd, write_fd):
            os.close(fd)
        assert "barrier passed" in process.communicate(timeout=20)[0]


def test_redis_under_sd_notify(perimortem, tmp_path):
    """A program of Debian that speaks the protocol by itself."""
    if not shutil.which("redis-server"):
        pytest.skip("redis-server is not installed (make test-deps)")
    process = perimortem.start(
        "run", "--beat-from", "sd-notify", "--report", tmp_path / "r.json", "--", "redis-server",
        "--port", "0", "--unixsocket", tmp_path / "s", "--save", "", "--supervised", "systemd",
        "--dir", tmp_path,
    )  # fmt: skip
    await_true((tmp_path / "s").exists)
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=30)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdict"] in ("clean-exit", "stopped")
    assert "sd.ready" in [event["name"] for event in report["recent_events"]]


def age_s(pid):
    began_s = read_stat(pid).start_time_ticks / os.sysconf("SC_CLK_TCK")
    return time.clock_gettime(time.CLOCK_BOOTTIME) - began_s


def test_nginx_loses_a_worker(perimortem, tmp_path):
    """Its master runs as root and its workers as another user: they have recorders all the same."""
    if not shutil.which("nginx"):
        pytest.skip("nginx is not installed (make test-deps)")
    conf = tmp_path / "n.conf"
    conf.write_text(
        f"pid {tmp_path}/pid; error_log {tmp_path}/e; worker_processes 2; daemon off; events {{}}\n"
        f"http {{ access_log off; server {{ listen unix:{tmp_path}/s; }} }}\n"
    )
    process = perimortem.start(
        "run", "--beat-from", "sd-notify", "--report", tmp_path / "r.json", "--", "nginx", "-c", conf,
        "-p", tmp_path,
    )  # fmt: skip
    await_true(lambda: (tmp_path / "pid").exists() and (tmp_path / "pid").read_text().strip())
    master = int((tmp_path / "pid").read_text())
    children = Path(f"/proc/{master}/task/{master}/children")
    await_true(lambda: len(list(perimortem.run_dir.glob("[0-9]*.rec"))) == 3)
    # By its title, once it is known; one that was just forked still has its master's.
    killed = 0
    said = ""
    while "KILLED  nginx: worker process (nginx[" not in said:
        worker = int(children.read_text().split()[0])
        await_true(lambda: age_s(worker) > 1 << killed)  # noqa: B023
        os.kill(worker, signal.SIGKILL)
        killed += 1
        said = read_line_with(process.stderr, "KILLED")
        assert "master" not in said
        assert killed < 6, said
    process.send_signal(signal.SIGQUIT)
    process.communicate(timeout=30)
    report = json.loads((tmp_path / "r.json").read_text())
    assert report["verdict"] == "clean-exit"
    assert sum(p["verdict"] == "killed" for p in report["processes"]) == killed


# What is done about a hang


def test_an_abort_that_is_ignored_becomes_a_kill(perimortem):
    script = (
        "import signal, threading, time\n"
        "signal.signal(signal.SIGABRT, signal.SIG_IGN); time.sleep(60)\n"
    )
    report = perimortem.report(
        sys.executable, "-c", script,
        options=("--beat-from", "output", "--grace", "0", "--threshold", "output=0.5", "--on-hang",
                 "abort", *QUICK),
    )  # fmt: skip
    assert (report["_status"], report["exit"]["signal"]) == (124, signal.SIGKILL)
    assert report["verdict"] == "hang"


def test_nothing_is_killed_unless_asked(perimortem):
    report = perimortem.report(
        "sleep", "2",
        options=("--beat-from", "output", "--grace", "0", "--threshold", "output=0.5", *QUICK),
    )  # fmt: skip
    assert (report["_status"], stopped(report)) == (0, ["output"])


# Bugs found by searching


def test_a_process_left_behind_may_print_for_ever(perimortem):
    process = subprocess.run(
        f"{sys.executable} -m perimortem run -q --beat-from output -- sh -c 'yes & exit 0' "
        "| cat >/dev/null",
        shell=True, env=perimortem.env, timeout=60,
    )  # fmt: skip
    assert process.returncode == 0


def test_a_reader_that_does_not_read_is_given_up_on_request(perimortem):
    read_fd, write_fd = os.pipe()
    # More than one pipe holds, and no more than two: it can end, no matter how much we hold.
    process = perimortem.start(
        "run", "--beat-from", "output", "--", "head", "-c", "100000", "/dev/zero", stdout=write_fd
    )
    os.close(write_fd)
    read_line_with(process.stderr, "watching head")
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children")
    await_true(lambda: "head" not in _commands(children))
    process.terminate()
    process.wait(timeout=30)
    os.close(read_fd)


def _commands(children):
    names = []
    for pid in children.read_text().split():
        try:
            names.append(Path(f"/proc/{pid}/comm").read_text().strip())
        except OSError:
            continue
    return names


def test_a_slow_supervisor_still_hears_that_it_is_ready(perimortem, tmp_path):
    path = str(tmp_path / "notify")
    with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as above:
        above.bind(path)
        perimortem.environment["NOTIFY_SOCKET"] = path
        script = (
            "for i in range(1200): say('STATUS=loading %d' % i)\n"
            "say('READY=1'); print('said', flush=True); time.sleep(3)\n"
        )
        process = perimortem.start("run", "-q", "--", sys.executable, "-c", NOTIFIER + script)
        process.stdout.readline()
        above.settimeout(20)
        while above.recv(4096) != b"READY=1":
            pass
        process.communicate(timeout=20)


def test_a_heartbeat_that_flaps_does_not_fill_the_disk(perimortem):
    report = notify(
        perimortem,
        "for _ in range(40): say('WATCHDOG_USEC=1\\nWATCHDOG=1'); time.sleep(0.12)\n",
        ("--beat-from", "sd-notify", "--no-stacks"),
    )
    # Three of each kind of hang: on a loaded machine it may be seen starved as well.
    kinds = {hang["kind"] for hang in report["hangs"]}
    assert 3 <= len(report["dumps"]) <= 3 * len(kinds)
    assert any("dumped 3 times in the last hour" in error for error in report["soft_errors"])


def test_a_dead_process_does_not_beat():
    """A zombie that is neither stopped nor frozen, with its last beat before it was killed."""
    with subprocess.Popen(["sleep", "60"]) as process:
        ref = find_process(process.pid)
        source = ProcessStateBeat(ref, 1)
        source.observe(2)
        assert source.heartbeats()[0].beat_ns == 2
        process.kill()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        source.observe(3)
        assert source.heartbeats()[0].beat_ns == 2


def test_a_thread_that_took_the_place_of_another_is_seen():
    """With as many threads as before, and no processor time that counts."""
    source = ProcessStateBeat(find_process(os.getpid()), 1)
    for now_ns in (2, 3, 4):
        leave = threading.Event()
        thread = threading.Thread(target=leave.wait)
        thread.start()
        source.observe(now_ns)
        assert thread.native_id in source.tids
        leave.set()
        thread.join()


def test_a_process_that_did_not_run_has_the_sample_of_before():
    """Until one of its threads has run."""
    with subprocess.Popen(["cat"], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"x")
        process.stdin.flush()
        process.stdout.read(1)
        await_true(lambda: read_stat(process.pid).state == "S")
        progress = Progress(process.pid, 1)
        state = ProcessStateBeat(find_process(process.pid), 1, is_still=progress.is_still)
        held = []
        for now_ns in (2, 3, 4):
            if now_ns == 4:
                process.send_signal(signal.SIGSTOP)
                await_true(lambda: read_stat(process.pid).state == "T")
            progress.observe(now_ns)
            state.observe(now_ns)
            held.append((progress.is_still(now_ns), state.heartbeats()[0].beat_ns))
        process.kill()
    assert held == [(True, 2), (True, 3), (False, 3)]
