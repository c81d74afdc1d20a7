"""The three ways to take a dump, and their effect on the target: its health is measured, not assumed."""

from __future__ import annotations

import contextlib
import json
import mmap
import os
import re
import signal
import subprocess
import sys
import time
from itertools import pairwise
from pathlib import Path

import pytest
from conftest import await_true

from perimortem.capture.linux.clone import find_left_clones
from perimortem.dumping import Hold, release
from perimortem.dumping.open import open_bytes
from perimortem.dumping.write import write_dump
from perimortem.minidump.reader import MinidumpFile
from perimortem.model.dump import FULL, MINI, MINIPLUS, TRIAGE, DumpOptions, MinidumpType, Pause
from perimortem.proc import find_process
from perimortem.report.minidump.document import describe_dump

pytestmark = pytest.mark.system

NOTHING = (
    "eintr", "lost_signals", "extra_sigchlds", "unknown_children", "wrong_children", "checksum_errors",
    "vector_errors", "ghost_events", "descriptors", "vdso_changed",
)  # fmt: skip
LAST_STEP = 17


def start_health(start, mebibytes=48):
    return start("health", mebibytes, stdin=subprocess.PIPE)


def ask_health(program):
    """What it has noticed; it ends by that."""
    program.popen.stdin.close()
    text = program.popen.stdout.read()
    program.popen.wait(timeout=30)
    return json.loads(text)


def dump(program, tmp_path, types, pause):
    path = tmp_path / f"{pause}.dmp"
    path.unlink(missing_ok=True)
    return write_dump(find_process(program.pid), path, DumpOptions(types, pause))


def children_of(pid):
    found = []
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        with contextlib.suppress(OSError):
            found += [int(child) for child in task.read_text().split()]
    return found


def clones_of(pid):
    """Children that the program did not create: they have no exit signal."""
    clones = []
    for child in children_of(pid):
        with contextlib.suppress(OSError):
            fields = Path(f"/proc/{child}/stat").read_text().rpartition(")")[2].split()
            if int(fields[35]) == 0:
                clones.append(child)
    return clones


@pytest.mark.parametrize("pause", list(Pause))
@pytest.mark.parametrize("types", [MINI, FULL], ids=["mini", "full"])
def test_the_target_is_well_after_200_dumps(start, tmp_path, pause, types):
    program = start_health(start)
    for _ in range(200):
        result = dump(program, tmp_path, types, pause)
        assert result.pause is (Pause.STOP if types == MINI and pause is Pause.SNAPSHOT else pause)
    noticed = ask_health(program)
    assert {name: noticed[name] for name in NOTHING} == dict.fromkeys(NOTHING, 0)
    if pause is Pause.NONE:
        assert noticed["tracer_seen"] == 0
    else:
        assert noticed["signals"] > 10


@pytest.mark.parametrize("step", range(1, LAST_STEP + 1))
def test_a_worker_killed_at_any_step_of_the_injection_does_no_harm(start, programs, step):
    """Each thread in its turn: in a call, in the middle of its vector registers, with a signal."""
    program = start_health(start, 8)
    since_ticks = int(time.clock_gettime(time.CLOCK_BOOTTIME) * 100)
    for tid in sorted(int(name) for name in os.listdir(f"/proc/{program.pid}/task")) * 2:
        killed = subprocess.run(
            [programs / "killed_in_injection", str(program.pid), str(tid), str(step)],
            capture_output=True, timeout=30,
        )  # fmt: skip
        assert killed.returncode in (-signal.SIGKILL, 3)  # 3: it had its own signal pending
    await_true(lambda: all(not is_alive(clone) for clone in clones_of(program.pid)))
    release(program.pid, Hold(since_ticks=since_ticks))
    await_true(lambda: not clones_of(program.pid))
    noticed = ask_health(program)
    # If we die, a call whose timeout would restart fails with EINTR: the only trace of us.
    harm = {name: noticed[name] for name in NOTHING if name not in ("eintr", "vdso_changed")}
    assert harm == dict.fromkeys(harm, 0)


def is_copying(folder):
    """The target runs again, and memory goes from the clone to the file."""
    return any(path.stat().st_blocks for path in folder.glob(".*.partial"))


def is_alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_the_injection_has_no_step_that_is_not_tried(start, programs):
    program = start("many_threads", 1)
    done = subprocess.run(
        [programs / "killed_in_injection", str(program.pid), str(program.pid), "0"],
        capture_output=True, text=True, timeout=30,
    )  # fmt: skip
    assert done.stdout == "done\n"
    source = (Path(__file__).parents[2] / "native/capture/inject.c").read_text()
    assert sorted(int(n) for n in re.findall(r"STEP\((\d+)\)", source)) == list(
        range(1, LAST_STEP + 1)
    )


def count_steps(path, address, size):
    """How often the number changes from page to page."""
    with open(path, "rb") as file:
        data = mmap.mmap(file.fileno(), 0, prot=mmap.PROT_READ)
        file_dump = MinidumpFile(lambda offset, size: data[offset : offset + size], len(data))
        facts = file_dump.read_memory64(file_dump.find(9))
        rva = facts.base_rva
        for memory in facts.ranges:
            if memory.address <= address < memory.address + memory.data_size:
                break
            rva += memory.data_size
        start = rva + address - memory.address
        numbers = [data[at : at + 8] for at in range(start, start + size, 4096)]
        data.close()
    return sum(a != b for a, b in pairwise(numbers))


def test_a_snapshot_is_of_one_instant_though_the_target_runs(start, tmp_path):
    program = start("generations", 64)
    address = int(program.first_line, 16)
    for pause, most in ((Pause.STOP, 1), (Pause.SNAPSHOT, 1)):
        result = dump(program, tmp_path, FULL, pause)
        assert result.pause is pause
        assert count_steps(result.path, address, 64 << 20) <= most
    # The proof that this can fail: without a pause there are more.
    result = dump(program, tmp_path, FULL, Pause.NONE)
    assert count_steps(result.path, address, 64 << 20) > 1
    assert any("nothing was stopped" in error for error in result.soft_errors)


def test_no_clone_is_left_behind(start, tmp_path):
    program = start("many_threads", 8)
    before = children_of(program.pid)
    for _ in range(10):
        assert dump(program, tmp_path, FULL | MinidumpType.WITH_CODE_SEGS, Pause.SNAPSHOT).path
    assert children_of(program.pid) == before
    assert "TracerPid:\t0" in Path(f"/proc/{program.pid}/status").read_text()


def test_a_cancelled_dump_leaves_no_file_no_clone_and_a_running_target(start, perimortem, tmp_path):
    program = start_health(start, 1024)
    dumping = perimortem.start(
        "dump", program.pid, "--type", "full", "--pause", "snapshot", "-o", tmp_path / "d.dmp"
    )
    await_true(lambda: is_copying(tmp_path))
    dumping.send_signal(signal.SIGINT)
    dumping.communicate(timeout=30)
    assert dumping.returncode != 0
    assert list(tmp_path.glob("*.dmp")) + list(tmp_path.glob(".*")) == []
    await_true(lambda: not clones_of(program.pid))
    noticed = ask_health(program)
    assert {name: noticed[name] for name in NOTHING} == dict.fromkeys(NOTHING, 0)


def test_a_worker_killed_while_it_copies_from_the_clone(start, perimortem, tmp_path):
    """The clone ends with its tracer; the monitor has the target wait for what is left of it."""
    program = start_health(start, 1024)
    dumping = perimortem.start(
        "dump", program.pid, "--type", "full", "--pause", "snapshot", "-o", tmp_path / "d.dmp"
    )
    await_true(lambda: is_copying(tmp_path))
    (clone,) = clones_of(program.pid)
    status = Path(f"/proc/{clone}/status").read_text()
    os.kill(int(re.search(r"TracerPid:\t(\d+)", status)[1]), signal.SIGKILL)
    _, errors = dumping.communicate(timeout=60)
    assert dumping.returncode == 0
    assert "a first attempt failed" in errors
    assert clones_of(program.pid) == []
    noticed = ask_health(program)
    assert {name: noticed[name] for name in NOTHING} == dict.fromkeys(NOTHING, 0)


def test_a_target_that_ends_meanwhile_is_dumped_all_the_same_and_its_pipes_are_closed(
    start, perimortem, tmp_path
):
    program = start_health(start, 1024)
    dumping = perimortem.start(
        "dump", program.pid, "--type", "full", "--pause", "snapshot", "-o", tmp_path / "d.dmp"
    )
    await_true(lambda: is_copying(tmp_path))
    program.popen.kill()
    assert program.popen.stdout.read() == ""  # the end of its output, while the clone still is
    dumping.communicate(timeout=60)
    assert dumping.returncode == 0
    assert (tmp_path / "d.dmp").stat().st_size > 1 << 30


def test_a_monitor_does_not_report_the_clone(perimortem, programs):
    """It is a child of the target, and is killed: not reported as a member, nor as a death."""
    report = perimortem.base / "r.json"
    done = perimortem.call(
        "run", "--dump-type", "full", "--pause", "snapshot", "--no-stacks", "--report", report,
        "--", programs / "hang_once", "0.3", "2", "256",
    )  # fmt: skip
    document = json.loads(report.read_text())
    assert [taken["pause"] for taken in document["dumps"]] == ["snapshot"]
    assert [member["name"] for member in document["processes"]] == ["hang_once"]
    assert "KILLED" not in done.stderr
    listed = json.loads(perimortem.call("list", "--json").stdout)
    assert "killed" not in json.dumps(listed)


REFUSED = {
    "userfaultfd": "import ctypes; assert ctypes.CDLL(None).syscall(323, 1) >= 0",
    "stopped": "import os, signal; print(flush=True); os.kill(os.getpid(), signal.SIGSTOP)",
}
LARGE = "import ctypes, mmap, struct, time\nlarge = bytearray(b'x') * (64 << 20)\n"
WAIT = "print(flush=True)\ntime.sleep(60)\n"


def start_python(start, code):
    """A program with 64 MiB of memory, which says a line when it is ready."""
    return start([sys.executable, "-c", f"{LARGE}{code}\n{WAIT}"])


@pytest.mark.parametrize("case", REFUSED)
def test_what_cannot_be_cloned_is_refused_with_the_reason_and_a_small_dump_is_taken(
    start, tmp_path, case
):
    program = start_python(start, REFUSED[case])
    if case == "stopped":
        await_true(lambda: program.state == "T")
    result = dump(program, tmp_path, FULL, Pause.SNAPSHOT)
    (refusal,) = [error for error in result.soft_errors if "no snapshot was possible" in error]
    assert case in refusal
    assert not result.types & MinidumpType.WITH_FULL_MEMORY
    assert result.size_bytes < 32 << 20


def test_seccomp_filters_are_suspended_for_the_one_call(start, tmp_path):
    """A filter that kills for clone: as root it is suspended, else the snapshot is refused."""
    code = (
        "libc = ctypes.CDLL(None)\n"
        "rules = [(32, 0, 0, 0), (21, 0, 1, 56), (6, 0, 0, 0x80000000), (6, 0, 0, 0x7fff0000)]\n"
        "program = ctypes.create_string_buffer(b''.join(struct.pack('<HBBI', *r) for r in rules))\n"
        "head = struct.pack('<HxxxxxxQ', len(rules), ctypes.addressof(program))\n"
        "assert libc.prctl(38, 1, 0, 0, 0) == 0\n"
        "assert libc.prctl(22, 2, ctypes.create_string_buffer(head), 0, 0) == 0\n"
    )
    program = start_python(start, code)
    result = dump(program, tmp_path, FULL, Pause.SNAPSHOT)
    if os.geteuid() == 0:
        assert result.pause is Pause.SNAPSHOT
    else:
        assert any("only root may suspend them" in error for error in result.soft_errors)
    assert program.popen.poll() is None


def test_memory_that_a_clone_has_not_is_in_the_dump(start, tmp_path):
    """MADV_DONTFORK and MADV_WIPEONFORK; and MADV_DONTDUMP only on request."""
    code = (
        "areas = []\n"
        "for advice in (10, 18, 16):\n"
        "    area = mmap.mmap(-1, 65536, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)\n"
        "    area[:] = b'SECRET%02d' % advice * 8192\n"
        "    area.madvise(advice)\n"
        "    areas.append(area)\n"
        "    print(hex(ctypes.addressof(ctypes.c_char.from_buffer(area))), end=' ')\n"
    )
    program = start_python(start, code)
    addresses = [int(word, 16) for word in program.first_line.split()]
    for include in (False, True):
        options = DumpOptions(FULL, Pause.SNAPSHOT, include_dontdump=include)
        path = tmp_path / f"{include}.dmp"
        result = write_dump(find_process(program.pid), path, options)
        assert result.pause is Pause.SNAPSHOT
        found = [read_dump(path, address, 8) for address in addresses]
        assert found[:2] == [b"SECRET10", b"SECRET18"]
        assert found[2] == (b"SECRET16" if include else None)
        assert include or any("MADV_DONTDUMP" in error for error in result.soft_errors)


def read_dump(path, address, size):
    data = path.read_bytes()
    file_dump = MinidumpFile(lambda offset, size: data[offset : offset + size], len(data))
    facts = file_dump.read_memory64(file_dump.find(9))
    rva = facts.base_rva
    for memory in facts.ranges:
        if memory.address <= address < memory.address + memory.data_size:
            return data[rva + address - memory.address :][:size]
        rva += memory.data_size
    return None


def test_untouched_memory_stays_untouched_and_takes_no_room(start, tmp_path):
    """And 60 GiB are listed as fast as one."""
    code = (
        "area = mmap.mmap(-1, 60 << 30, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS | 0x4000)\n"
        "area[2 << 30] = 7\n"
    )
    program = start_python(start, code)

    def resident():
        text = Path(f"/proc/{program.pid}/smaps_rollup").read_text()
        return int(re.search(r"Rss: +(\d+)", text)[1])

    before = resident()
    for pause in Pause:
        result = dump(program, tmp_path, FULL, pause)
        facts = Path(result.path).stat()
        assert facts.st_size > 60 << 30
        assert facts.st_blocks * 512 < 128 << 20
        with open_bytes(Path(result.path)) as (read, size):
            (stream,) = describe_dump(MinidumpFile(read, size), only={9}).streams
        assert stream.total_bytes > 60 << 30
        assert stream.outside_file == 0
    assert resident() - before < 1024


@pytest.mark.parametrize("pause", list(Pause))
@pytest.mark.parametrize("kind", ["MAP_SHARED | mmap.MAP_ANONYMOUS", "memfd"])
def test_holes_of_shared_memory_are_not_filled(start, tmp_path, pause, kind):
    opened, flags = ("fd", "MAP_SHARED") if kind == "memfd" else ("-1", kind)
    code = (
        "import os; fd = os.memfd_create('m'); os.ftruncate(fd, 400 << 20)\n"
        f"area = mmap.mmap({opened}, 400 << 20, flags=mmap.{flags})\n"
        "area[200 << 20 : (200 << 20) + 4] = b'data'\n"
        "print(hex(ctypes.addressof(ctypes.c_char.from_buffer(area)) + (200 << 20)))\n"
    )
    program = start_python(start, code)

    def shmem():
        return int(
            re.search(r"RssShmem:\s+(\d+)", Path(f"/proc/{program.pid}/status").read_text())[1]
        )

    before = shmem()
    result = dump(program, tmp_path, FULL, pause)
    assert shmem() - before < 1024
    assert read_dump(Path(result.path), int(program.first_line, 16), 4) == b"data"
    assert Path(result.path).stat().st_blocks * 512 < 128 << 20


def test_what_is_marked_is_in_no_dump_and_neither_is_the_environment(start, perimortem, tmp_path):
    """Not in a mini dump either, though a pointer to it is on the stack; nor when the leader is gone."""
    environment = {**perimortem.env, "SECRETENV": "hunter" + "2"}
    for name, types in (("mini", MINI), ("miniplus", MINIPLUS), ("full", FULL), ("points", 0x1145)):
        program = start("secrets", env=environment)
        for pause in (Pause.STOP, Pause.NONE):
            path = tmp_path / f"{name}-{pause}.dmp"
            options = DumpOptions(MinidumpType(types), pause)
            result = write_dump(find_process(program.pid), path, options)
            data = Path(result.path).read_bytes()
            assert b"OPEN-WORDS" in data or types == 0x1145
            assert b"SECRET-WORDS" not in data, name
            assert b"hunter" + b"2" not in data, name


def test_a_triage_dump_names_no_directory(start, tmp_path):
    program = start("many_threads", 2)
    result = dump(program, tmp_path, TRIAGE, Pause.STOP)
    data = Path(result.path).read_bytes()
    assert b"/lib/" not in data
    assert "/lib/".encode("utf-16-le") not in data
    assert b"tests/programs" not in data


@pytest.mark.skipif(os.geteuid() != 0, reason="needs root for a pid namespace")
def test_a_snapshot_in_a_pid_namespace_takes_no_other_child(start, programs, tmp_path):
    program = start(
        ["unshare", "-pf", "--kill-child", str(programs / "health"), "64"], stdin=subprocess.PIPE
    )
    (inner,) = children_of(program.pid)
    inside = type("Inside", (), {"pid": inner})
    for _ in range(10):
        assert dump(inside, tmp_path, FULL, Pause.SNAPSHOT).pause is Pause.SNAPSHOT
    assert clones_of(inner) == []
    noticed = ask_health(program)
    assert {name: noticed[name] for name in NOTHING} == dict.fromkeys(NOTHING, 0)


@pytest.mark.parametrize("pause", ["stop", "snapshot", "none"])
def test_the_dumper_stays_small(start, tmp_path, pause):
    """Its own memory, while it takes 512 MiB: under 64 MiB."""
    program = start_health(start, 512)
    code = (
        "import resource, subprocess, sys\n"
        "subprocess.run(sys.argv[1:], check=True)\n"
        "print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)\n"
    )
    dumping = [sys.executable, "-m", "perimortem", "dump", "--type", "full", "--pause", pause]
    measured = subprocess.run(
        [sys.executable, "-c", code, *dumping, "-o", tmp_path / "d.dmp", str(program.pid)],
        capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert (tmp_path / "d.dmp").stat().st_size > 512 << 20
    assert int(measured.stdout.splitlines()[-1]) < 64 << 10


def test_left_clones_are_distinguished_from_children_of_the_program(start):
    program = start_health(start, 8)
    assert find_left_clones(program.pid, 0) == []


def test_miniplus_takes_private_memory_without_full_memory(start, tmp_path):
    program = start_health(start, 64)
    result = dump(program, tmp_path, MINIPLUS, Pause.SNAPSHOT)
    assert result.pause is Pause.SNAPSHOT
    assert result.size_bytes > 64 << 20
    data = Path(result.path).read_bytes()
    file_dump = MinidumpFile(lambda offset, size: data[offset : offset + size], len(data))
    ranges = file_dump.read_memory_list(file_dump.find(5))
    assert sum(memory.data_size for memory in ranges) > 64 << 20
