"""What is read of a process is read by a child: one that never answers costs its watcher little."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.conftest import await_true, read_line_with

from perimortem.clock import SystemClock
from perimortem.model.process import ProcessRef
from perimortem.proc import find_process
from perimortem.reading import ProcessReader
from perimortem.reading.linux import process_reader
from perimortem.testing.manual_clock import ManualClock

NOT_ALLOWED = 3
SECOND_NS = 1_000_000_000


@dataclass(frozen=True)
class Silent:
    process: ProcessRef
    file_system: subprocess.Popen
    """It releases the process when it ends."""


@pytest.fixture()
def silent(programs, tmp_path):
    """A read of its command line waits, as `ps` does, until its file system ends."""
    (tmp_path / "mount").mkdir()
    file_system = subprocess.Popen(
        [programs / "silent_memory", tmp_path / "mount"], stdout=subprocess.PIPE, text=True
    )
    try:
        line = file_system.stdout.readline()
        if not line:
            assert file_system.wait() == NOT_ALLOWED
            pytest.skip("this user may not mount a file system (FUSE), not even in a namespace")
        yield Silent(find_process(int(line)), file_system)
    finally:
        file_system.kill()
        file_system.wait()
        file_system.stdout.close()


@pytest.fixture()
def reader():
    made = ProcessReader(SystemClock())
    yield made
    made.close()
    await_true(lambda: not made.pids())


def test_it_answers_as_a_direct_read_does(reader):
    own = find_process(os.getpid())
    info = reader.collect_process_info(own, 10.0)
    assert list(info.command_line) == Path("/proc/self/cmdline").read_text().split("\0")[:-1]
    assert info.executable == os.path.realpath(sys.executable)
    # On a busy machine one answer may come too late, and is not known then.
    path = {"PATH": os.environ["PATH"][:64]}
    await_true(lambda: reader.read_variables(own.pid, ("PATH",)) == path)
    inode = os.stat(os.__file__).st_ino
    await_true(lambda: not reader.maps_file(own.pid, inode, ".py"))
    program = os.path.realpath(sys.executable)
    await_true(lambda: reader.leaves_by_own_system_call(program) is False)
    assert reader.leaves_by_own_system_call("/none") is None
    size = os.stat(__file__).st_size
    await_true(lambda: (reader.read_change(__file__) or (0, 0, 0))[1] == size)
    assert reader.read_change("/none") is None
    assert len(reader.pids()) == 1, "one child answers everything"


def test_a_process_that_never_answers_is_waited_for_once_and_another_one_is_read(
    reader, silent, programs
):
    reader.collect_process_info(find_process(os.getpid()), 10.0)
    (first,) = reader.pids()
    info = reader.collect_process_info(silent.process)
    assert (info.name, info.command_line) == ("silent_memory", ())
    assert info.executable == str(programs / "silent_memory")
    own = find_process(os.getpid())
    await_true(lambda: reader.collect_process_info(own).command_line)
    assert reader.collect_process_info(silent.process, 5.0).command_line == (), "left alone"
    assert first not in reader.pids()


def test_many_that_never_answer_are_not_waited_for_one_after_another(monkeypatch):
    """Waiting is a fifth of the time at most."""
    clock = ManualClock(100 * SECOND_NS)
    waited_ns = []

    def wait_in_vain(_reader, _service, timeout_ns):
        waited_ns.append(timeout_ns)
        clock.now_ns += timeout_ns
        return False

    monkeypatch.setattr(ProcessReader, "_receive", wait_in_vain)
    monkeypatch.setattr(process_reader, "_has_no_processor", lambda _pid: False)
    reader = ProcessReader(clock)
    for number in range(1000):
        clock.now_ns += 1_000_000
        assert reader.read_change(f"/none/{number}") is None
    reader.close()
    assert waited_ns
    assert sum(waited_ns) < 0.5 * SECOND_NS
    assert max(waited_ns) <= 0.03 * SECOND_NS
    await_true(lambda: not reader.pids())


def test_a_reader_whose_child_was_killed_starts_another(reader):
    own = find_process(os.getpid())
    reader.collect_process_info(own, 10.0)
    (first,) = reader.pids()
    os.kill(first, signal.SIGKILL)
    await_true(lambda: reader.collect_process_info(own).command_line)
    assert first not in reader.pids()


def test_of_a_child_that_was_given_up_nothing_is_read_any_more(reader, monkeypatch):
    """It wrote more than any answer has, without an end."""
    own = find_process(os.getpid())
    assert reader.collect_process_info(own, 10.0).command_line
    with monkeypatch.context() as patch:
        patch.setattr(process_reader, "_LINE_MAX", -1)
        assert reader.read_change("/") is None
    assert reader.collect_process_info(own, 10.0).command_line


def test_what_took_the_pid_of_a_process_that_ended_does_not_speak_for_it(reader):
    own = find_process(os.getpid())
    before = type(own)(own.pid, own.start_time_ticks - 1)
    info = reader.collect_process_info(before, 10.0)
    assert (info.name, info.executable, info.command_line) == (str(own.pid), None, ())


def test_watch_of_a_process_whose_command_line_is_never_answered(perimortem, silent):
    """`ps` and `pgrep -f` wait for ever."""
    watch = perimortem.start("watch", silent.process.pid, stderr=subprocess.PIPE)
    read_line_with(watch.stderr, "silent_memory")
    os.kill(silent.process.pid, signal.SIGKILL)  # not even that ends it, before its file system has
    silent.file_system.kill()
    watch.communicate(timeout=60)
    (row,) = json.loads(perimortem.call("list", "--json").stdout)
    assert row["pid"] == silent.process.pid
    assert row["verdict"] == "killed"


def test_a_program_is_looked_at_while_it_runs(reader, tmp_path):
    """A rebuild deletes its file."""
    program = tmp_path / "program"
    shutil.copy("/bin/sleep", program)
    process = subprocess.Popen([program, "60"])
    try:
        reader.collect_process_info(find_process(os.getpid()), 10.0)
        reader.look_at_program(process.pid, str(program))
        program.unlink()
        assert reader.read_change("/none") is None  # one question after the other
    finally:
        process.kill()
        process.wait()
    assert reader.leaves_by_own_system_call(str(program)) is False
    assert reader.leaves_by_own_system_call(f"{program} (deleted)") is None


def test_an_answer_that_has_come_counts_also_if_no_time_is_left_to_wait(tmp_path):
    clock = ManualClock(SECOND_NS)
    reader = ProcessReader(clock)
    program = tmp_path / "program"
    shutil.copy("/bin/sleep", program)
    with subprocess.Popen([program, "60"]) as process:
        reader.warm_up()
        reader.look_at_program(process.pid, str(program))
        reader._credit_ns = 0  # and the clock, which refills it, stands still
        await_true(lambda: reader.leaves_by_own_system_call(str(program)) is False)
        process.kill()
    reader.close()
    await_true(lambda: not reader.pids())
