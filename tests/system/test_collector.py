"""core_pattern: programs that do not use perimortem, dumped while the kernel holds them."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import ROOT, await_true
from messages import connect, make_frame

from perimortem.collector.layout import WORK_SLOTS
from perimortem.elfcore.notes import read_notes
from perimortem.elfcore.reader import CoreFile
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile
from perimortem.proc import find_process
from perimortem.wire.frames import decode_message, encode_answer
from perimortem.wire.layout import SERVICE_SOCKET_NAME, Frame, FrameKind, Outcome

pytestmark = [
    pytest.mark.system,
    pytest.mark.exclusive,
    pytest.mark.skipif(os.geteuid() != 0, reason="core_pattern takes root"),
]

PATTERN = Path("/proc/sys/kernel/core_pattern")
PIPE_LIMIT = Path("/proc/sys/kernel/core_pipe_limit")
DIRECTORY = Path("/var/lib/perimortem/system")
GUARDIAN = """
import sys
before = [(path, open(path).read()) for path in sys.argv[1:]]
print("ready", flush=True)
sys.stdin.read()  # until the tests have ended, however they do
for path, text in before:
    open(path, "w").write(text)
"""


@pytest.fixture(autouse=True)
def kernel_settings_come_back():
    """Also when the tests are killed: a separate process does it."""
    if DIRECTORY.exists():
        pytest.skip("a collector is set up on this machine")
    before = PATTERN.read_text(), PIPE_LIMIT.read_text()
    guardian = subprocess.Popen(
        [sys.executable, "-c", GUARDIAN, PATTERN, PIPE_LIMIT], start_new_session=True,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert guardian.stdout.readline() == "ready\n"
    yield
    guardian.communicate()
    assert (PATTERN.read_text(), PIPE_LIMIT.read_text()) == before
    for path in sorted(DIRECTORY.glob("*")) if DIRECTORY.exists() else ():
        path.unlink()
    if DIRECTORY.exists():
        DIRECTORY.rmdir()


def install(perimortem, *options):
    result = perimortem.call("system", "install", "--until-boot", *options)
    assert result.returncode == 0, result.stderr
    return result


def uninstall(perimortem):
    return perimortem.call("system", "uninstall")


@pytest.fixture()
def monitor(perimortem):
    install(perimortem)
    command = perimortem.start("monitor")
    assert "serving" in command.stderr.readline()
    yield command
    command.send_signal(signal.SIGINT)
    _, stderr = command.communicate(timeout=60)
    assert "Traceback" not in stderr
    uninstall(perimortem)


def incidents(perimortem):
    """Of programs of this checkout: others of the machine crash as well, and come to the monitor."""
    rows = json.loads(perimortem.call("list", "--json").stdout)
    shown = [perimortem.call("show", "--json", row["number"]).stdout for row in rows]
    ended = [one for one in map(json.loads, shown) if one["exit"]["kind"] != "running"]
    return [one for one in ended if one["target"]["command_line"][0].startswith(f"{ROOT}/")]


def read_counts(perimortem):
    (rule,) = json.loads(perimortem.call("system", "status", "--json").stdout)
    return rule["crashes"]


def crash(*argv, **options):
    return subprocess.run(argv, capture_output=True, timeout=60, **options).returncode


@pytest.mark.parametrize("name", ["crash_null", "crash_in_thread", "static_crash"])
def test_a_program_that_does_not_use_perimortem(perimortem, programs, monitor, name):
    assert crash(programs / name) == -signal.SIGSEGV
    await_true(lambda: incidents(perimortem))
    (incident,) = incidents(perimortem)
    assert (incident["verdict"], incident["exit"]["signal_name"]) == ("crash", "SIGSEGV")
    assert incident["where"]["text"].startswith(f"SIGSEGV at 0x10 in {name}+0x")
    data = Path(incident["dumps"][0]["path"]).read_bytes()
    dump = MinidumpFile(lambda at, size: data[at : at + size], len(data))
    exception = dump.read_exception(dump.find(StreamType.ExceptionStream)).raw
    threads = dump.read_threads(dump.find(StreamType.ThreadListStream))
    assert (exception.code, exception.address) == (11, 16)
    assert exception.thread_id == threads[0].thread_id
    assert all(thread.context_size and thread.stack.data_size for thread in threads)
    assert len(threads) == (2 if name == "crash_in_thread" else 1)
    assert not list(perimortem.run_dir.glob("core-*"))


def test_abort_and_a_signal_that_was_sent(perimortem, programs, monitor):
    assert crash(programs / "abort_now") == -signal.SIGABRT
    await_true(lambda: len(incidents(perimortem)) == 1)
    assert incidents(perimortem)[0]["verdict"] == "crash"
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    program.send_signal(signal.SIGSEGV)
    program.communicate(timeout=30)
    await_true(lambda: len(incidents(perimortem)) == 2)
    killed = incidents(perimortem)[1]
    assert (killed["verdict"], killed["exit"]["sender"]["pid"]) == ("killed", os.getpid())


def test_a_process_in_a_pid_namespace(perimortem, programs, monitor):
    crash("unshare", "--pid", "--fork", programs / "crash_null")
    await_true(lambda: incidents(perimortem))
    # unshare ends as its child did, and is another crash.
    incident = next(i for i in incidents(perimortem) if i["target"]["name"] == "crash_null")
    assert incident["dumps"][0]["thread_count"] == 1


def test_twenty_at_once(perimortem, programs, monitor, tmp_path):
    program = shutil.copy(programs / "crash_null", tmp_path / "one_of_twenty")

    def count():
        rows = json.loads(perimortem.call("list", "--json").stdout)
        return sum(row["name"] == program.name for row in rows)

    started = [subprocess.Popen([program]) for _ in range(20)]
    assert {process.wait(timeout=60) for process in started} == {-signal.SIGSEGV}
    await_true(lambda: count() == 20)
    assert len(list((perimortem.data_dir / "dumps").glob(f"{program.name}*.dmp"))) == 3


def test_in_a_storm_the_monitor_answers_each_in_time(perimortem, programs, monitor, tmp_path):
    """What takes long is not done before further ones have been answered: none is unreported. Of one
    program those beyond its share of an hour are counted."""
    program = shutil.copy(programs / "crash_many", tmp_path / "many_in_storm")
    subprocess.run([program, "200", "1"], timeout=120, check=True, stdout=subprocess.DEVNULL)

    def count():
        rows = json.loads(perimortem.call("list", "--json").stdout)
        ended = [row for row in rows if row["name"] == program.name and row["ended_at"]]
        return sum(1 + row["repeats"] for row in ended)

    await_true(lambda: count() == 200)


def test_a_crash_that_its_handler_reported_is_reported_once(perimortem, programs, monitor):
    report = perimortem.report(programs / "crash_null")
    assert (report["verdict"], len(report["dumps"])) == ("crash", 1)
    assert len(incidents(perimortem)) == 1


def test_it_is_put_back_exactly_and_twice_changes_nothing(perimortem):
    before = PATTERN.read_text(), PIPE_LIMIT.read_text()
    assert "hands every program" in install(perimortem).stdout
    assert PATTERN.read_text().startswith(f"|{DIRECTORY}/core-helper %P ")
    assert int(PIPE_LIMIT.read_text()) >= 2 * WORK_SLOTS  # so that refused crashes are counted
    assert "nothing to do" in install(perimortem).stdout
    status = json.loads(perimortem.call("system", "status", "--json").stdout)
    assert [rule["is_ours"] for rule in status] == [True]
    assert "is restored" in uninstall(perimortem).stdout
    assert (PATTERN.read_text(), PIPE_LIMIT.read_text()) == before
    assert not DIRECTORY.exists()
    assert "nothing of ours" in uninstall(perimortem).stdout


def test_a_foreign_handler_is_left_alone_or_passed_on_to(perimortem, programs, tmp_path):
    taken = tmp_path / "taken"
    handler = tmp_path / "handler"
    handler.write_text(f"#!/bin/sh\nprintf '%s ' \"$@\" > {taken}.args\nexec cat > {taken}\n")
    handler.chmod(0o755)
    foreign = f"|{handler} %P %s x%%"
    PATTERN.write_text(foreign)
    refused = perimortem.call("system", "install", "--until-boot")
    assert (refused.returncode, refused.stderr.count("\n")) == (1, 1)
    assert "--chain" in refused.stderr
    assert PATTERN.read_text().strip() == foreign

    install(perimortem, "--chain")
    # Without a monitor the handler before us has it all; with one, both.
    assert crash(programs / "crash_null") == -signal.SIGSEGV
    await_true(lambda: taken.exists() and taken.read_bytes()[:4] == b"\x7fELF")
    assert Path(f"{taken}.args").read_text().split()[1:] == ["11", "x%"]
    taken.unlink()
    command = perimortem.start("monitor")
    assert "serving" in command.stderr.readline()
    assert crash(programs / "crash_null") == -signal.SIGSEGV
    await_true(lambda: incidents(perimortem))
    core = taken.read_bytes()
    assert read_notes(core).signal.number == 11
    headers = subprocess.run(["readelf", "-l", taken], capture_output=True, text=True)
    assert "LOAD" in headers.stdout
    assert "past end of file" not in headers.stderr
    command.send_signal(signal.SIGINT)
    command.wait(timeout=30)
    uninstall(perimortem)
    assert PATTERN.read_text().strip() == foreign


@pytest.mark.parametrize(("limit", "has_core"), [("unlimited", True), ("0", False)])
def test_without_a_monitor_the_core_goes_where_it_would_have_gone(
    perimortem, programs, tmp_path, limit, has_core
):
    PATTERN.write_text("core.%p.%e")
    install(perimortem)
    assert (
        crash("bash", "-c", f"ulimit -c {limit}; cd {tmp_path}; exec {programs}/crash_null") == -11
    )
    found = list(tmp_path.glob("core.*.crash_null"))
    assert bool(found) == has_core
    if has_core:
        notes = read_notes(found[0].read_bytes())
        gdb = subprocess.run(
            ["gdb", "-q", "-batch", "-ex", "p/x $rip", programs / "crash_null", found[0]],
            capture_output=True, text=True,
        ).stdout  # fmt: skip
        assert hex(notes.threads[0].registers.general["rip"]) in gdb
    uninstall(perimortem)
    assert PATTERN.read_text() == "core.%p.%e\n"


def test_a_core_file_is_never_given_to_others(perimortem, programs, tmp_path):
    """Not into a file that another user prepared, nor for a process with more rights than its caller."""
    PATTERN.write_text("core")
    install(perimortem)
    ready = tmp_path / "core"
    ready.write_text("kept")
    ready.chmod(0o666)
    command = f"ulimit -c unlimited; cd {tmp_path}; exec {programs}/crash_null"
    crash("bash", "-c", command)
    assert ready.read_text() == "kept"
    ready.unlink()
    crash("bash", "-c", f"umask 022; {command}")
    assert ready.stat().st_mode & 0o777 == 0o600
    ready.unlink()
    crash("unshare", "--mount", "bash", "-c", command)
    assert not ready.exists()
    uninstall(perimortem)


def test_untouched_memory_takes_no_disk(perimortem, programs, tmp_path):
    """As when the kernel writes the file itself; the limits of the process are not the helper's."""
    PATTERN.write_text("core.%p")
    shell = ["bash", "-c", f"ulimit -c unlimited; exec {programs}/untouched"]
    (tmp_path / "kernel").mkdir()
    subprocess.run(shell, cwd=tmp_path / "kernel", stdout=subprocess.DEVNULL)
    (direct,) = (tmp_path / "kernel").iterdir()
    install(perimortem)
    shell[2] = f"ulimit -f 0; ulimit -n 4; {shell[2]}"
    result = subprocess.run(shell, cwd=tmp_path, stdout=subprocess.PIPE)
    (core,) = tmp_path.glob("core.*")
    uninstall(perimortem)
    size, blocks = core.stat().st_size, core.stat().st_blocks
    assert abs(size - direct.stat().st_size) < 1 << 20
    assert size > 2 << 30
    assert blocks * 512 < 10 << 20
    assert blocks <= direct.stat().st_blocks * 1.1

    memory = int(result.stdout, 16)
    places = {memory + 12345: 1, memory + (1 << 20) + 9: 7, memory + (1 << 30): 0}
    with core.open("rb") as file:
        found = CoreFile(lambda at, n: os.pread(file.fileno(), n, at), size).read_snapshot()
        assert {at: found.content.read(at, 1)[0] for at in places} == places
    commands = [f"-ex=p *(char *){at}" for at in places]
    gdb = subprocess.run(
        ["gdb", "-q", "-batch", "-ex=set confirm off", *commands, programs / "untouched", core],
        capture_output=True, text=True,
    ).stdout  # fmt: skip
    values = [int(line.split()[2]) for line in gdb.splitlines() if line.startswith("$")]
    assert values == list(places.values())


def crash_with_core(programs, folder):
    """Its core, found by the name of the program: others of the machine may crash here, too."""
    assert (
        crash("bash", "-c", f"ulimit -c unlimited; cd {folder}; exec {programs}/crash_null") == -11
    )
    (core,) = folder.glob("core.*.crash_null")
    return core


def test_a_stopped_monitor_costs_no_core(perimortem, programs, tmp_path):
    PATTERN.write_text("core.%p.%e")
    install(perimortem)
    command = perimortem.start("monitor")
    assert "serving" in command.stderr.readline()
    command.send_signal(signal.SIGSTOP)
    core = crash_with_core(programs, tmp_path)
    assert read_notes(core.read_bytes()).signal.number == 11
    assert read_counts(perimortem)["unanswered"] >= 1
    assert "not answered by the monitor in time" in perimortem.call("system", "status").stdout
    command.send_signal(signal.SIGCONT)
    command.send_signal(signal.SIGINT)
    _, stderr = command.communicate(timeout=60)
    assert "Traceback" not in stderr
    uninstall(perimortem)


def test_a_monitor_that_is_killed_during_the_dump_costs_no_core(perimortem, programs, tmp_path):
    """Its dump worker is stopped, so that the dump does not end before."""
    PATTERN.write_text("core.%p.%e")
    install(perimortem)
    command = perimortem.start("monitor")
    assert "serving" in command.stderr.readline()
    children = Path(f"/proc/{command.pid}/task/{command.pid}/children")

    def list_workers():
        pids = [int(pid) for pid in children.read_text().split()]
        return [p for p in pids if b"dumping/worker.py" in Path(f"/proc/{p}/cmdline").read_bytes()]

    await_true(list_workers)
    workers = list_workers()
    try:
        for pid in workers:
            os.kill(pid, signal.SIGSTOP)
        shell = f"ulimit -c unlimited; cd {tmp_path}; exec {programs}/crash_null"
        crashing = subprocess.Popen(["bash", "-c", shell])

        def is_reported():
            rows = json.loads(perimortem.call("list", "--json").stdout)
            return any(row["pid"] == crashing.pid for row in rows)

        await_true(is_reported)
        command.kill()
        assert crashing.wait(timeout=60) == -signal.SIGSEGV
    finally:
        for pid in workers:
            os.kill(pid, signal.SIGKILL)
    (core,) = tmp_path.glob("core.*.crash_null")
    assert read_notes(core.read_bytes()).signal.number == 11
    assert read_counts(perimortem)["unanswered"] >= 1
    uninstall(perimortem)


def read_log(fd):
    with contextlib.suppress(BlockingIOError):
        while True:
            yield os.read(fd, 8192).decode()


def test_crashes_too_many_are_counted_and_logged(perimortem, programs, tmp_path):
    """All slots are taken, by this test. The count is there after another `install`, too."""
    PATTERN.write_text("core.%p.%e")
    install(perimortem)
    slots, log = os.open(DIRECTORY / "slots", os.O_RDWR), os.open("/dev/kmsg", os.O_NONBLOCK)
    try:
        os.lseek(log, 0, os.SEEK_END)
        fcntl.lockf(slots, fcntl.LOCK_EX, WORK_SLOTS)
        for _ in range(3):
            crash("bash", "-c", f"ulimit -c unlimited; cd {tmp_path}; exec {programs}/crash_null")
        assert "nothing to do" in install(perimortem).stdout
        assert read_counts(perimortem)["refused"] >= 3
        assert not list(tmp_path.glob("core.*"))
        what = re.compile(
            r"perimortem: \d+\(.*\): no core: too many crashes at once \(number (\d+)\)"
        )
        numbers = [int(found[1]) for line in read_log(log) if (found := what.search(line))]
        assert numbers[:2] == [1, 2]
        assert 3 not in numbers
    finally:
        os.close(slots)
        os.close(log)
    assert crash_with_core(programs, tmp_path).exists()
    assert (DIRECTORY / "slots").stat().st_mode & 0o777 == 0o600
    uninstall(perimortem)


def test_a_storm_is_bounded_and_every_crash_is_counted(perimortem, programs, tmp_path):
    """More at once than there are slots: none is lost without a count."""
    install(perimortem)
    number = WORK_SLOTS + 100
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as stopped:
        stopped.bind(str(perimortem.run_dir / SERVICE_SOCKET_NAME))
        stopped.listen(number)
        storm = subprocess.run([programs / "crash_many", str(number), "1"], timeout=120)
        assert storm.returncode == 0
    counts = read_counts(perimortem)
    assert sum(counts[name] for name in ("core_file", "unwanted", "refused")) >= number
    uninstall(perimortem)


def test_uninstall_during_a_crash_loses_nothing(perimortem, programs, tmp_path):
    """The helper is with a monitor that dies only when core_pattern is already restored."""
    PATTERN.write_text("core.%p.%e")
    install(perimortem)
    with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as listening:
        listening.bind(str(perimortem.run_dir / SERVICE_SOCKET_NAME))
        listening.listen(64)
        listening.settimeout(60)
        command = f"ulimit -c unlimited; cd {tmp_path}; exec {programs}/crash_null"
        crashing = subprocess.Popen(["bash", "-c", command])
        pid = None
        while pid != crashing.pid:  # others of the machine crash as well
            connection, _ = listening.accept()
            pid = decode_message(connection.recv(4096)).pid
            if pid != crashing.pid:
                connection.close()
        connection.send(encode_answer(FrameKind.WELCOME))
        removal = perimortem.start("system", "uninstall")
        await_true(lambda: PATTERN.read_text() == "core.%p.%e\n")
        assert (DIRECTORY / "core-helper").exists()
        assert int(PIPE_LIMIT.read_text()) >= WORK_SLOTS
        connection.close()
    assert crashing.wait(timeout=60) == -signal.SIGSEGV
    stdout, _ = removal.communicate(timeout=60)
    assert "is restored" in stdout
    assert not DIRECTORY.exists()
    (core,) = tmp_path.glob("core.*.crash_null")
    headers = subprocess.run(["readelf", "-l", core], capture_output=True, text=True)
    assert read_notes(core.read_bytes()).signal.number == 11
    assert "past end of file" not in headers.stderr


def test_a_lost_state_does_not_leave_the_kernel_without_its_helper(perimortem):
    install(perimortem)
    (DIRECTORY / "state.json").unlink()
    (DIRECTORY / "previous").unlink()
    assert "is restored" in uninstall(perimortem).stdout
    assert PATTERN.read_text() == "core\n"


def test_a_handler_that_asks_for_what_we_cannot_tell_is_not_chained(perimortem):
    PATTERN.write_text("|/bin/true -F%F -- %E")
    result = perimortem.call("system", "install", "--until-boot", "--chain")
    assert (result.returncode, "%F" in result.stderr) == (1, True)


def test_a_program_with_a_thousand_mappings(perimortem, monitor):
    code = (
        "import mmap, ctypes\n"
        "held = [mmap.mmap(-1, 4096, prot=1 + i % 2) for i in range(1500)]\n"
        "ctypes.string_at(16)"
    )
    assert crash(sys.executable, "-c", code) == -signal.SIGSEGV
    await_true(lambda: incidents(perimortem))
    (incident,) = incidents(perimortem)
    assert incident["dumps"][0]["path"]


def test_a_place_that_others_can_write_is_refused(perimortem):
    DIRECTORY.mkdir(parents=True)
    DIRECTORY.chmod(0o777)
    before = PATTERN.read_text()
    result = perimortem.call("system", "install", "--until-boot")
    assert result.returncode == 1
    assert "can be written by users other than root" in result.stderr
    assert PATTERN.read_text() == before


def ask_for_core(perimortem, pid, start_time):
    """What comes after the first answer, which comes before anything is looked at."""
    with connect(perimortem.run_dir / SERVICE_SOCKET_NAME) as client:
        client.send(make_frame(FrameKind.CORE, pid=pid, start_time=start_time))
        assert Frame.read(client.recv(4096)).kind == FrameKind.WELCOME
        answer = Frame.read(client.recv(4096))
        assert (answer.kind, client.recv(4096)) == (FrameKind.REFUSED, b"")
        return answer.outcome


def test_a_false_core_message_is_refused(perimortem, monitor):
    program = subprocess.Popen(["sleep", "60"])
    try:
        start_time = find_process(program.pid).start_time_ticks
        assert ask_for_core(perimortem, program.pid, start_time) == Outcome.MALFORMED
        for pid in (monitor.pid, program.pid):  # itself; and one of another start
            assert ask_for_core(perimortem, pid, 7) == Outcome.NOT_WATCHED
    finally:
        program.kill()
        program.wait()
