"""Who waits for whom, within a process and across several.

Deadlocks are found, and none in what rests."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest
from conftest import await_true
from test_deadlocks import PYTHON_CYCLE

pytestmark = pytest.mark.system

# Each begins with two processes, and says "ready" when both are about to wait.
HEAD = """
import ctypes, fcntl, os, select, signal, socket, struct, sys, threading, time
folder = sys.argv[1]
def fork(run):
    child = os.fork()
    if child == 0:
        run()
        os._exit(0)
    return child
def ready():
    print("ready", flush=True)
"""
STUCK = {
    "each reads what the other would write": """
a, b = os.pipe(), os.pipe()
def one(): os.close(a[1]); os.close(b[0]); os.read(a[0], 1)
fork(one)
os.close(a[0]); os.close(b[1]); ready(); os.read(b[0], 1)
""",
    "a full pipe to a parent that waits": """
r, w = os.pipe()
child = fork(lambda: os.write(w, b"x" * 1_000_000))
ready(); os.waitpid(child, 0)
""",
    "a pair of sockets": """
a, b = socket.socketpair()
def one(): a.close(); b.recv(1)
fork(one)
b.close(); ready(); a.recv(1)
""",
    "TCP over loopback": """
server = socket.create_server(("127.0.0.1", 0))
a = socket.create_connection(server.getsockname())
b, _ = server.accept(); server.close()
def one(): a.close(); b.recv(1)
fork(one)
b.close(); ready(); a.recv(1)
""",
    "two polls": """
a, b = os.pipe(), os.pipe()
def wait(fd): p = select.poll(); p.register(fd, select.POLLIN); p.poll()
def one(): os.close(a[1]); os.close(b[0]); wait(a[0])
fork(one)
os.close(a[0]); os.close(b[1]); ready(); wait(b[0])
""",
    "a select and an epoll": """
a, b = os.pipe(), os.pipe()
def one(): os.close(a[1]); os.close(b[0]); select.select([a[0]], [], [])
fork(one)
os.close(a[0]); os.close(b[1]); e = select.epoll(); e.register(b[0], select.EPOLLIN); ready(); e.poll()
""",
    "two eventfds": """
a, b = os.eventfd(0), os.eventfd(0)
def one(): os.eventfd_read(a)
fork(one)
ready(); os.eventfd_read(b)
""",
    "the end of a process that waits for ours": """
def one():
    parent = os.pidfd_open(os.getppid()); p = select.poll(); p.register(parent, select.POLLIN); p.poll()
child = fork(one)
ready(); os.waitpid(child, 0)
""",
    "two locks of files": """
a, b = (os.open(f"{folder}/{name}", os.O_RDWR | os.O_CREAT) for name in "ab")
r, w = os.pipe()
def reopen(fd): return os.open(f"/proc/self/fd/{fd}", os.O_RDWR)
def one():
    mine, other = reopen(a), reopen(b); fcntl.flock(mine, fcntl.LOCK_EX); os.write(w, b"x")
    time.sleep(.2); fcntl.flock(other, fcntl.LOCK_EX)
fork(one)
mine, other = reopen(b), reopen(a); fcntl.flock(mine, fcntl.LOCK_EX); os.read(r, 1)
ready(); fcntl.flock(other, fcntl.LOCK_EX)
""",
    "two locks of multiprocessing": """
import multiprocessing
a, b = multiprocessing.Lock(), multiprocessing.Lock()
def one(): a.acquire(); time.sleep(.2); b.acquire()
fork(one)
b.acquire(); time.sleep(.2); ready(); a.acquire()
""",
}
RESTS = {
    "an event that SIGTERM sets": """
stop = threading.Event()
signal.signal(signal.SIGTERM, lambda *_: stop.set())
ready(); stop.wait()
""",
    "a child that its alarm ends": """
def one(): signal.alarm(600); signal.pause()
child = fork(one)
ready(); os.waitpid(child, 0)
""",
    "sockets with a time limit": """
a, b = socket.socketpair()
for s in (a, b): s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVTIMEO, struct.pack("ll", 600, 0))
def one(): a.close(); b.recv(1)
fork(one)
b.close(); ready(); a.recv(1)
""",
    "a descriptor on its way": """
a, b = os.pipe(), os.pipe()
left, right = socket.socketpair()
socket.send_fds(left, [b"x"], [a[1], b[1]])
def one(): os.close(a[1]); os.close(b[0]); os.read(a[0], 1)
fork(one)
os.close(a[0]); os.close(b[1]); ready(); os.read(b[0], 1)
""",
    "a pipe that has a name": """
os.mkfifo(f"{folder}/pipe")
a = os.open(f"{folder}/pipe", os.O_RDWR)
ready(); os.read(a, 1)
""",
    "a thread that waits for work, and one for input": """
import queue
threading.Thread(target=queue.Queue().get, daemon=True).start()
ready(); sys.stdin.read()
""",
    "a consumer of a queue whose producer works": """
import multiprocessing
q = multiprocessing.Queue()
def produce():
    while True: time.sleep(600); q.put(1)
fork(produce)
ready(); q.get()
""",
    "an event loop that only Ctrl-C ends": """
import asyncio
async def main(): ready(); await asyncio.Event().wait()
asyncio.run(main())
""",
    "a condition that only Ctrl-C ends": """
ready(); threading.Event().wait()
""",
    "a server": """
server = socket.create_server(("127.0.0.1", 0))
ready(); server.accept()
""",
    "a timer that signals": """
libc = ctypes.CDLL(None)
r, w = os.pipe()
def wait(): set_timer(); os.close(w); os.read(r, 1)
def set_timer():
    timer = ctypes.c_void_p(); libc.timer_create(1, None, ctypes.byref(timer))
    libc.timer_settime(timer, 0, struct.pack("4q", 0, 0, 600, 0), None)
child = fork(wait)
ready(); os.waitpid(child, 0)
""",
}


@pytest.fixture
def folder():
    """With a short path: that of a socket has 107 bytes at most."""
    with tempfile.TemporaryDirectory(prefix="p") as path:
        yield Path(path)


def begin_script(begin, tmp_path, script):
    process = begin([sys.executable, "-c", HEAD + script, tmp_path])
    assert process.stdout.readline() == b"ready\n"
    return process


def find_stuck_processes(document):
    return {
        process["pid"]
        for process in document["processes"]
        if any(thread["stuck"] for thread in process["threads"])
    }


@pytest.mark.exclusive  # any process of another test may have descriptors on their way
@pytest.mark.parametrize("name", STUCK)
def test_processes_that_wait_for_each_other(begin, look, tmp_path, name):
    process = begin_script(begin, tmp_path, STUCK[name])
    await_true(lambda: look(process.pid)["deadlocks"])
    document = look(process.pid)
    assert process.pid in find_stuck_processes(document)
    assert document["deadlocks"][0]["text"].split()[0] in ("deadlock", "a")


@pytest.mark.parametrize("name", RESTS)
def test_what_rests_is_not_stuck(begin, look, tmp_path, name):
    process = begin_script(begin, tmp_path, RESTS[name])
    for _ in range(3):
        document = look(process.pid)
        assert document["deadlocks"] == [], document
        time.sleep(0.2)
    states = {t["waits_for"] for p in document["processes"] for t in p["threads"]}
    assert states != {None}


@pytest.mark.parametrize(
    ("arguments", "circle"),
    [
        (("cycle", 2), 2),
        (("cycle", 5), 5),
        (("self",), 1),
        (("join",), 2),
        (("rwlock",), 2),
        (("dead-owner",), 1),
        (("own",), 2),
    ],
)
def test_threads_of_c_that_wait_for_each_other(begin, look, programs, arguments, circle):
    process = begin([programs / "locks", *map(str, arguments)])
    await_true(lambda: look(process.pid)["deadlocks"], 30)
    (deadlock,) = look(process.pid)["deadlocks"]
    assert len(deadlock["circle"]) + len(deadlock["waiting"]) >= circle


@pytest.mark.parametrize("arguments", [("busy", 4), ("chain", 5), ("writers",)])
def test_threads_of_c_of_which_one_goes_on(begin, look, programs, arguments):
    process = begin([programs / "locks", *map(str, arguments)])
    assert process.stdout.readline() == b"ready\n"
    for _ in range(5):
        assert look(process.pid)["deadlocks"] == []


def test_two_threads_of_a_server_that_goes_on(begin, look, programs):
    process = begin([programs / "locks", "beside", "2"])
    await_true(lambda: look(process.pid)["deadlocks"], 30)
    (deadlock,) = look(process.pid)["deadlocks"]
    assert len(deadlock["circle"]) == 2
    assert process.pid not in deadlock["circle"]


@pytest.mark.parametrize("kind", ["Lock", "RLock"])
def test_python_threads(begin, look, kind):
    process = begin([sys.executable, "-c", PYTHON_CYCLE, "3", kind])
    await_true(lambda: look(process.pid)["deadlocks"], 30)
    (deadlock,) = look(process.pid)["deadlocks"]
    # Any thread might release a Lock, the main thread too; only its owner an RLock.
    assert len(deadlock["circle"]) == {"Lock": 4, "RLock": 3}[kind]


SERVERS = {
    "redis-server": ["--port", "0", "--unixsocket", "{folder}/s", "--save", ""],
    "nginx": ["-p", "{folder}", "-c", "{folder}/nginx.conf"],
    "node": ["-e", "require('net').createServer().listen('{folder}/s')"],
    "dbus-daemon": ["--session", "--nofork", "--address=unix:path={folder}/s"],
    "tail": ["-f", "/dev/null"],
    "cat": [],
    "sleep": ["infinity"],
    "bash": ["-c", "sleep 600 | cat"],
}


def find_server(name, folder):
    """[its command], or nothing if it is not installed."""
    program = shutil.which(name, path=os.environ["PATH"] + ":/usr/sbin")
    (folder / "nginx.conf").write_text(
        "daemon off; pid nginx.pid; error_log error.log; events {} "
        f"http {{ server {{ listen unix:{folder}/s; }} }}"
    )
    arguments = [argument.format(folder=folder) for argument in SERVERS[name]]
    return [[program, *arguments]] if program is not None else []


@pytest.mark.parametrize("name", SERVERS)
def test_programs_that_rest(begin, look, folder, name):
    found = find_server(name, folder)
    if not found:
        pytest.skip(f"{name} is not installed")
    process = begin(found[0], stderr=subprocess.DEVNULL)
    for _ in range(5):
        time.sleep(0.2)
        assert process.poll() is None
        document = look(process.pid)
        assert document["deadlocks"] == [], document["deadlocks"]


REPORTED = ("a full pipe to a parent that waits", "two locks of files", "a pair of sockets")


@pytest.mark.exclusive
@pytest.mark.parametrize("name", REPORTED)
def test_run_reports_it_by_default(perimortem, tmp_path, name):
    report = perimortem.report(
        sys.executable, "-c", HEAD + STUCK[name], tmp_path,
        options=("--threshold", "3", "--on-hang", "kill", "--no-stacks"),
    )  # fmt: skip
    assert "HANG" in report["_stderr"]
    assert "deadlock of 2 threads of" in report["_stderr"]
    assert report["_status"] == 124


def test_run_reports_two_threads_of_a_server_that_goes_on(perimortem, programs):
    report = perimortem.report(
        programs / "locks", "beside", "2",
        options=("--threshold", "3", "--on-hang", "kill", "--no-stacks"),
    )  # fmt: skip
    (hang,) = report["hangs"]
    assert "deadlock of 2 threads of locks[" in hang["state"]
    assert hang["kind"] == "lock"
    assert report["dumps"]


def test_run_says_nothing_of_what_rests(begin, folder):
    """All at once, which makes the machine slow."""
    commands = [
        [sys.executable, "-c", HEAD + script, make_folder(folder, number)]
        for number, (name, script) in enumerate(RESTS.items())
        if name != "a descriptor on its way"  # which may be of any other test
    ]
    for name in SERVERS:
        commands += find_server(name, make_folder(folder, name))
    started = [
        begin(
            [
                sys.executable,
                "-m",
                "perimortem",
                "run",
                "--threshold",
                "3",
                "--no-stacks",
                "--",
                *argv,
            ],
            stderr=subprocess.PIPE,
        )
        for argv in commands
    ]
    time.sleep(15)
    for process, argv in zip(started, commands, strict=True):
        assert process.poll() is None, argv
        os.killpg(process.pid, signal.SIGKILL)
    for process, argv in zip(started, commands, strict=True):
        said = process.stderr.read().decode()
        assert "watching" in said, argv
        assert "HANG" not in said, (argv, said)


def make_folder(base, name):
    folder = base / str(name)
    folder.mkdir()
    return folder


def test_the_text_names_who_waits_for_whom(begin, perimortem, programs, look):
    process = begin([programs / "locks", "cycle", "2"])
    await_true(lambda: look(process.pid)["deadlocks"], 30)
    text = perimortem.call("waits", process.pid).stdout
    assert f"DEADLOCK  deadlock of 2 threads of locks[{process.pid}]" in text
    assert "waits for lock 0x" in text
    assert re.search(r"held by \d+ \(locks\)", text)


def test_a_process_that_is_gone(perimortem):
    result = perimortem.call("waits", 4_900_000)
    assert result.returncode != 0
    assert "there is no process 4900000" in result.stderr
    assert "Traceback" not in result.stderr


def test_analyze_says_what_a_running_process_waits_for(perimortem, begin):
    process = begin(["sleep", "60"])
    await_true(lambda: "waits for a time" in perimortem.call("waits", process.pid).stdout)
    printed = perimortem.call("analyze", process.pid).stdout
    assert f"running: thread {process.pid} (sleep) waits for a time" in printed
    assert "no crash" not in printed


def test_a_word_that_is_no_pid(perimortem):
    result = perimortem.call("waits", "abc")
    assert result.returncode == 2
    assert "'abc' is not a process id (ps -e lists them)" in result.stderr
