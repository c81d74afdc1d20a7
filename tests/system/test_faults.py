"""What fails around the monitor costs no report, and keeps no program from running."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import signal
import sqlite3
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from conftest import await_true, read_line_with

CRASH = ("sh", "-c", "kill -SEGV $$")


def list_incidents(perimortem):
    return json.loads(perimortem.call("list", "--all", "--json").stdout)


def list_spool(directory):
    return sorted(path.name for path in directory.glob("*.json"))


def make_noise(path):
    path.write_bytes(b"this is no database" * 100)


def make_newer(path):
    database = sqlite3.connect(path)
    database.execute("PRAGMA user_version = 999")
    database.close()


def make_directory(path):
    path.mkdir()


@pytest.mark.parametrize(
    "spoil", [make_noise, make_newer, make_directory], ids=lambda f: f.__name__
)
def test_a_store_that_cannot_be_used_costs_no_report(perimortem, spoil):
    """The report comes into the next store that can be used, once, with its dump."""
    perimortem.data_dir.mkdir(parents=True)
    database = perimortem.data_dir / "incidents.db"
    spoil(database)
    result = perimortem.call("run", "--", *CRASH)
    assert result.returncode == 128 + signal.SIGSEGV
    assert "this report is kept in" in result.stderr
    assert len(list_spool(perimortem.data_dir / "spool")) == 1
    for path in perimortem.data_dir.glob("incidents.db*"):
        path.rename(perimortem.base / path.name)
    for _ in range(2):
        (incident,) = list_incidents(perimortem)
        assert (incident["verdict"], incident["name"]) == ("crash", "sh")
    assert list_spool(perimortem.data_dir / "spool") == []


def test_a_store_that_is_locked_all_the_time_does_not_hold_up_a_run(perimortem):
    perimortem.call("run", "-q", "--", "true")
    lock = sqlite3.connect(perimortem.data_dir / "incidents.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    for status in (3, 4):
        result = perimortem.call("run", "--", "sh", "-c", f"exit {status}")
        assert result.returncode == status
        assert "database is locked" in result.stderr
    assert len(list_spool(perimortem.data_dir / "spool")) == 2
    lock.execute("ROLLBACK")
    lock.close()
    result = perimortem.call("run", "--", "true")
    (line,) = [line for line in result.stderr.splitlines() if "after an earlier failure" in line]
    numbers = re.findall(r"\d+", line)
    assert len(numbers) == 2
    codes = [perimortem.call("show", number, "--json").stdout for number in numbers]
    assert sorted(json.loads(code)["exit"]["code"] for code in codes) == [3, 4]


def test_a_store_that_comes_back_while_we_watch_has_the_report_once(perimortem, tmp_path):
    """A hang is recorded at once; its store is locked then, and free at the end."""
    perimortem.call("run", "-q", "--", "true")
    lock = sqlite3.connect(perimortem.data_dir / "incidents.db", isolation_level=None)
    lock.execute("BEGIN IMMEDIATE")
    watch = perimortem.start(
        "run", "--threshold", "process=1", "--no-stacks", "--", "sh", "-c", "kill -STOP $$; exit 7"
    )
    line = read_line_with(watch.stderr, "watching sh[")
    pid = int(line.split("[")[1].split("]")[0])
    await_true(lambda: list_spool(perimortem.data_dir / "spool"))
    lock.execute("ROLLBACK")
    lock.close()
    os.kill(pid, signal.SIGCONT)
    watch.communicate(timeout=60)
    assert watch.returncode == 7
    assert list_spool(perimortem.data_dir / "spool") == []
    _, incident = list_incidents(perimortem)
    assert incident["verdict"] == "failed-exit"


def test_a_store_that_is_removed_while_we_watch_is_made_again(perimortem):
    watch = perimortem.start(
        "run", "--", "sh", "-c", "echo on; read line; exit 7", stdin=subprocess.PIPE
    )
    read_line_with(watch.stdout, "on")
    for path in perimortem.data_dir.glob("incidents.db*"):
        path.unlink()
    watch.communicate("\n", timeout=60)
    (incident,) = list_incidents(perimortem)
    assert incident["verdict"] == "failed-exit"


NOWHERE = "/dev/null/nowhere"


@pytest.mark.parametrize(
    "changes",
    [
        {"PERIMORTEM_DATA_DIR": NOWHERE},
        {"PERIMORTEM_RUN_DIR": NOWHERE},
        {"PERIMORTEM_DATA_DIR": NOWHERE, "PERIMORTEM_RUN_DIR": NOWHERE},
    ],
    ids=["data", "run", "both"],
)
def test_a_directory_that_cannot_be_made_keeps_no_program_from_running(perimortem, changes):
    perimortem.environment = changes
    result = perimortem.call("run", "--", "sh", "-c", "echo ran; exit 7")
    assert (result.returncode, result.stdout) == (7, "ran\n")
    assert NOWHERE in result.stderr
    assert "FAILED EXIT" in result.stderr
    strict = perimortem.call("run", "--must-watch", "--", "sh", "-c", "echo ran")
    assert (strict.returncode, strict.stdout) == (125, "")
    assert NOWHERE in strict.stderr


def test_without_a_data_directory_the_report_waits_in_the_run_directory(perimortem):
    perimortem.environment = {"PERIMORTEM_DATA_DIR": NOWHERE}
    perimortem.call("run", "--", *CRASH)
    assert len(list_spool(perimortem.run_dir / "spool")) == 1
    perimortem.environment = {}
    result = perimortem.call("run", "--", "true")
    assert "stored now, after an earlier failure: incident" in result.stderr
    assert "crash" in [incident["verdict"] for incident in list_incidents(perimortem)]


def test_a_user_without_a_home_directory_can_run_programs(perimortem):
    if os.geteuid() != 0:
        pytest.skip("runs as another user, which takes root")
    environment = {
        name: value
        for name, value in perimortem.env.items()
        if name not in ("HOME", "PERIMORTEM_DATA_DIR", "PERIMORTEM_RUN_DIR")
    }
    result = subprocess.run(
        ["setpriv", "--reuid=54321", "--regid=54321", "--clear-groups",
         sys.executable, "-m", "perimortem", "run", "--", "sh", "-c", "exit 7"],
        env=environment, capture_output=True, text=True, timeout=60,
    )  # fmt: skip
    assert result.returncode == 7, result.stderr
    assert "Traceback" not in result.stderr


LIMITS = [(resource.RLIMIT_NOFILE, limit) for limit in (8, 12, 16, 20, 24, 32, 64)] + [
    (resource.RLIMIT_FSIZE, 4096),
    (resource.RLIMIT_CORE, 0),
]


@pytest.mark.parametrize(("which", "limit"), LIMITS)
def test_no_limit_keeps_a_program_from_running(perimortem, which, limit):
    result = perimortem.call(
        "run", "--", "sh", "-c", "echo ran; exit 7",
        preexec_fn=lambda: resource.setrlimit(which, (limit, limit)),
    )  # fmt: skip
    assert (result.returncode, result.stdout) == (7, "ran\n"), result.stderr
    assert "Traceback" not in result.stderr


def test_an_unwatched_program_inherits_what_it_would_have_without_us(perimortem):
    shell = ["sh", "-c", "grep -E '^(SigBlk|SigIgn|SigCgt):' /proc/self/status"]
    alone = subprocess.run(shell, capture_output=True, text=True).stdout
    result = perimortem.call(
        "run", "--", *shell, preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_NOFILE, (8, 8))
    )
    assert "runs unwatched" in result.stderr
    assert result.stdout == alone


def fill(path):
    """With a file that takes what is left of its disk."""
    fd = os.open(path, os.O_WRONLY | os.O_CREAT)
    with suppress(OSError):
        while os.write(fd, bytes(4096)):
            pass
    os.close(fd)


def test_a_full_disk_costs_no_report(perimortem):
    """The store lies on a small disk that is full; the spool falls back to the run directory."""
    if os.geteuid() != 0:
        pytest.skip("mounts a small file system, which takes root")
    perimortem.data_dir.mkdir(parents=True)
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=256k", "tmpfs", perimortem.data_dir],
        capture_output=True,
    )
    if mounted.returncode != 0:
        pytest.skip("nothing may be mounted here")
    try:
        fill(perimortem.data_dir / "filler")
        result = perimortem.call("run", "--", *CRASH)
        assert result.returncode == 128 + signal.SIGSEGV
        assert "this report is kept in" in result.stderr
        assert len(list_spool(perimortem.run_dir / "spool")) == 1
        (perimortem.data_dir / "filler").unlink()
        perimortem.call("run", "--", "true")
        assert "crash" in [incident["verdict"] for incident in list_incidents(perimortem)]
    finally:
        subprocess.run(["umount", "-l", perimortem.data_dir], check=True)


@pytest.mark.parametrize("reads_later", [False, True], ids=["never read", "read later"])
def test_a_pipe_that_is_not_read_does_not_stop_the_watch(perimortem, reads_later):
    """It is full before the first line: nothing can be said, and everything is stored."""
    reading, writing = os.pipe()
    os.set_blocking(writing, False)
    with suppress(BlockingIOError):
        while True:
            os.write(writing, bytes(4096))
    os.set_blocking(writing, True)
    script = "exec 2>/dev/null; for i in 1 2 3 4 5; do (kill -SEGV $BASHPID); done; exit 7"
    run = subprocess.Popen(
        [sys.executable, "-m", "perimortem", "run", "--", "bash", "-c", script],
        env=perimortem.env, stderr=writing,
    )  # fmt: skip
    os.close(writing)
    if reads_later:
        await_true(lambda: len(list_incidents(perimortem)) == 6)
        with open(reading, "rb") as pipe:
            text = pipe.read().lstrip(b"\0").decode()
        assert "FAILED EXIT" in text
    assert run.wait(timeout=60) == 7
    if not reads_later:
        os.close(reading)
    assert [i["verdict"] for i in list_incidents(perimortem)].count("crash") == 5


def test_only_anonymous_memory_is_read_in_the_watch(tmp_path):
    """A client says where its stack is; a page of a file may be behind a file system that hangs."""
    from perimortem.proc import guess_caller

    code = (
        "import ctypes, mmap, sys\n"
        f"file = open({str(tmp_path / 'file')!r}, 'w+b'); file.write(bytes(65536)); file.flush()\n"
        "maps = [line.split() for line in open('/proc/self/maps')]\n"
        "code = next(int(m[0].split('-')[0], 16) for m in maps if 'x' in m[1] and 'python' in m[-1])\n"
        "places = [mmap.mmap(-1, 65536, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS),\n"
        "  mmap.mmap(file.fileno(), 65536, mmap.MAP_PRIVATE), mmap.mmap(file.fileno(), 65536)]\n"
        "for place in places: place[:8] = code.to_bytes(8, 'little')\n"
        "print(*(ctypes.addressof(ctypes.c_char.from_buffer(p)) for p in places), flush=True)\n"
        "sys.stdin.read()"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        anonymous, private, shared = map(int, process.stdout.readline().split())
        assert guess_caller(process.pid, anonymous) is not None
        assert guess_caller(process.pid, private) is None
        assert guess_caller(process.pid, shared) is None
        assert guess_caller(process.pid, 16) is None
        process.stdin.close()


@pytest.mark.parametrize("command", ["run", "dump"])
def test_without_core_files_there_are_dumps(perimortem, programs, start, command):
    """A hard limit of 0 (LimitCORE=0, limits.conf) is common; most may not raise it again."""
    script = (
        "import resource, os, sys; resource.setrlimit(resource.RLIMIT_CORE, (0, 0)); "
        "os.execv(sys.argv[1], sys.argv[1:])"
    )
    bounding = ["setpriv", "--bounding-set=-sys_resource", "--inh-caps=-sys_resource"]
    as_root = bounding if os.geteuid() == 0 and shutil.which("setpriv") else []
    ours = [*as_root, sys.executable, "-c", script, sys.executable, "-m", "perimortem"]
    if command == "run":
        arguments = ["run", "--report", perimortem.base / "r.json", "--", programs / "crash_null"]
        subprocess.run([*ours, *arguments], env=perimortem.env, capture_output=True, timeout=60)
        (dump,) = json.loads((perimortem.base / "r.json").read_text())["dumps"]
        assert dump["error"] is None, dump
    else:
        path = perimortem.base / "x.dmp"
        target = start("many_threads", 4)
        done = subprocess.run(
            [*ours, "dump", str(target.pid), "-o", path], env=perimortem.env, capture_output=True,
            text=True, timeout=60,
        )  # fmt: skip
        assert done.returncode == 0, done.stderr
        assert path.exists()


def test_the_log_of_the_store_is_removed_while_it_is_open(perimortem, programs):
    """`rm incidents.db*`, or a careful clean-up: what is stored afterwards must be found."""
    perimortem.run_dir.mkdir(mode=0o700)
    script = (
        f"{programs}/crash_null; rm {perimortem.data_dir}/incidents.db-*; sleep 0.2;"
        f"{programs}/crash_null; sleep 0.5; touch {perimortem.base}/on; sleep 60"
    )
    monitor = perimortem.start("run", "--", "sh", "-c", script)
    await_true((perimortem.base / "on").exists, 60)
    stop(monitor)
    assert len(json.loads(perimortem.call("list", "--json").stdout)) >= 2


def stop(monitor):
    """It, its writer and the rest at once."""
    children = Path(f"/proc/{monitor.pid}/task/{monitor.pid}/children").read_text().split()
    monitor.kill()
    for pid in map(int, children):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    monitor.wait()


def test_the_data_directory_is_removed_while_a_program_is_watched(perimortem, programs):
    report = perimortem.base / "r.json"
    script = f"rm -r {perimortem.data_dir}; exec {programs}/crash_null"
    perimortem.call("run", "--report", report, "--", "sh", "-c", script)
    (dump,) = json.loads(report.read_text())["dumps"]
    assert dump["error"] is None, dump
    assert perimortem.data_dir.stat().st_mode & 0o777 == 0o700


def test_a_dump_that_was_only_to_be_examined_is_removed_later(perimortem):
    dumps = perimortem.data_dir / "dumps"
    perimortem.call("run", "-q", "--", "true")
    left = [dumps / f".x-1-2.dmp{end}" for end in (".scratch", ".partial", ".other")]
    for path in left:
        path.write_bytes(b"x")
        os.utime(path, (1, 1))
    (dumps / ".y-1-2.dmp.scratch").write_bytes(b"in use")
    perimortem.call("run", "-q", "--", "true")
    assert sorted(p.name for p in dumps.glob(".*")) == [".x-1-2.dmp.other", ".y-1-2.dmp.scratch"]
