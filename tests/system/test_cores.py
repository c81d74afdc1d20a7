"""Our ELF cores, read by common debuggers; and dumps converted both ways."""

from __future__ import annotations

import json
import os
import re
import shutil
import struct
import subprocess
import sys
from pathlib import Path

import pytest
from conftest import each_shared_dump, needs_dumps
from synthetic_dumps import SYNTHETIC

from perimortem.dumping.open import open_snapshot
from perimortem.dumping.write import write_dump
from perimortem.model.dump import FULL, MINI, DumpFormat, DumpOptions, Pause
from perimortem.proc import find_process

pytestmark = pytest.mark.system

needs = {
    name: pytest.mark.skipif(not shutil.which(name), reason=f"{name} is not installed")
    for name in ("gdb", "lldb", "zstd")
}
AMD64 = 9
"""PROCESSOR_ARCHITECTURE_AMD64."""
CASES = [(MINI, Pause.STOP), (FULL, Pause.STOP), (FULL, Pause.SNAPSHOT)]
IDS = ["mini", "full", "full-snapshot"]
DEEP = """
import threading, time
arrived = threading.Barrier(4, lambda: print("ready", flush=True))
def innermost():
    arrived.wait()
    while True:
        time.sleep(100)
def outermost():
    innermost()
for number in range(3):
    threading.Thread(target=outermost, daemon=True).start()
innermost()
"""


@pytest.fixture(params=list(zip(CASES, IDS, strict=True)), ids=IDS)
def core(request, start, tmp_path):
    (types, pause), _ = request.param
    program = start("many_threads", 4)
    options = DumpOptions(types, pause, DumpFormat.CORE)
    result = write_dump(find_process(program.pid), tmp_path / "t.core", options)
    return program.popen.args[0], Path(result.path)


def count_frames(text):
    return len(re.findall(r"\bwait_here\b", text))


@needs["gdb"]
def test_gdb_shows_every_threads_stack(core):
    program, path = core
    result = subprocess.run(
        ["gdb", "-nx", "-batch", "-ex", "thread apply all bt", program, path],
        capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert count_frames(result.stdout) >= 4
    assert len(re.findall(r"^Thread \d+", result.stdout, re.M)) == 5
    assert re.search(r"#\d+ +0x[0-9a-f]+ in main ", result.stdout)


@needs["lldb"]
def test_lldb_shows_every_threads_stack(core):
    program, path = core
    result = subprocess.run(
        ["lldb", "-b", "-x", "-o", f"target create -c {path} {program}", "-o", "thread backtrace all"],
        capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert count_frames(result.stdout) >= 4
    assert len(re.findall(r"^. thread #\d+", result.stdout, re.M)) == 5


def test_drgn_shows_every_threads_stack(core):
    _, path = core
    script = (
        "import drgn, sys\n"
        "program = drgn.Program()\n"
        "program.set_core_dump(sys.argv[1])\n"
        "try:\n    program.load_default_debug_info()\n"
        "except drgn.MissingDebugInfoError:\n    pass\n"
        "for thread in program.threads():\n    print(thread.tid, thread.stack_trace())\n"
    )
    pytest.importorskip("drgn")
    result = subprocess.run(
        [sys.executable, "-c", script, path], capture_output=True, text=True, timeout=100
    )
    assert count_frames(result.stdout) == 4, result.stderr


@pytest.mark.parametrize("pause", [Pause.STOP, Pause.SNAPSHOT])
def test_pystack_shows_the_python_frames_of_a_full_core(tmp_path, pause):
    pytest.importorskip("pystack")
    python = os.path.realpath(sys.executable)
    target = subprocess.Popen([python, "-c", DEEP], stdout=subprocess.PIPE)
    try:
        with target.stdout as ready:
            ready.readline()
        options = DumpOptions(FULL, pause, DumpFormat.CORE)
        result = write_dump(find_process(target.pid), tmp_path / "p.core", options)
        shown = subprocess.run(
            [sys.executable, "-m", "pystack", "core", result.path, python],
            capture_output=True, text=True, timeout=100,
        )  # fmt: skip
        assert shown.stdout.count("in innermost") == 4, shown.stdout + shown.stderr
        assert shown.stdout.count("in outermost") == 3
    finally:
        target.kill()
        target.wait()


@needs["gdb"]
def test_a_crash_becomes_a_core_with_its_signal(perimortem, programs, tmp_path):
    perimortem.call("run", "-q", "--", programs / "crash_null")
    (dump,) = (perimortem.data_dir / "dumps").glob("*.dmp")
    result = perimortem.call("convert", dump, tmp_path / "crash.core")
    assert result.returncode == 0, result.stderr
    shown = subprocess.run(
        ["gdb", "-nx", "-batch", "-ex", "bt", "-ex", "p $_siginfo.si_signo",
         programs / "crash_null", tmp_path / "crash.core"],
        capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
    )  # fmt: skip
    assert "Program terminated with signal SIGSEGV" in shown.stdout
    assert "$1 = 11" in shown.stdout


def join(parts):
    """A core has a segment for each mapping: ranges that go on from one to the next are cut there."""
    joined = []
    for address, data in parts:
        if joined and joined[-1][0] + len(joined[-1][1]) == address:
            joined[-1] = (joined[-1][0], joined[-1][1] + data)
        else:
            joined.append((address, data))
    return joined


def describe(snapshot):
    """What must be the same in every format."""
    read = snapshot.content.read
    return {
        "pid": snapshot.pid,
        "threads": {
            t.tid: (t.name, t.registers.general["rip"], t.registers.general["rsp"])
            for t in snapshot.threads
        },
        "modules": {(m.base, m.path, m.build_id) for m in snapshot.modules},
        "memory": join([(m.address, read(m.address, m.size)) for m in snapshot.memory]),
        "handles": [(h.number, h.type_name, h.object_name) for h in snapshot.handles or ()],
    }


@pytest.mark.parametrize("types", [MINI, FULL], ids=["mini", "full"])
def test_there_and_back_again(start, perimortem, tmp_path, types):
    """minidump -> core -> minidump, with and without zstd: nothing important is lost."""
    program = start("many_threads", 4)
    write_dump(find_process(program.pid), tmp_path / "a.dmp", DumpOptions(types))
    for source, target in (
        ("a.dmp", "b.core"), ("b.core", "c.dmp"), ("c.dmp", "d.core.zst"), ("d.core.zst", "e.dmp.zst"),
    ):  # fmt: skip
        result = perimortem.call("convert", tmp_path / source, tmp_path / target)
        assert result.returncode == 0, result.stderr
    with open_snapshot(tmp_path / "a.dmp") as snapshot:
        first = describe(snapshot)
    for name in ("b.core", "c.dmp", "d.core.zst", "e.dmp.zst"):
        with open_snapshot(tmp_path / name) as snapshot:
            assert describe(snapshot) == first, name
    listed = json.loads(perimortem.call("inspect", "--json", tmp_path / "e.dmp.zst").stdout)
    assert listed["missing"] == []
    assert listed["problems"] == []


@needs["zstd"]
def test_zstd_itself_unpacks_a_compressed_dump(start, perimortem, tmp_path):
    program = start("health", 64, stdin=subprocess.PIPE)
    path = tmp_path / "d.dmp.zst"
    for pause in ("stop", "snapshot"):
        path.unlink(missing_ok=True)
        result = perimortem.call(
            "dump", program.pid, "--type", "full", "--pause", pause, "--compress", "-o", path
        )
        assert result.returncode == 0, result.stderr
        packed = perimortem.call("inspect", "--json", path).stdout
        subprocess.run(["zstd", "-d", "-q", "-f", path, "-o", tmp_path / "d.dmp"], check=True)
        plain = perimortem.call("inspect", "--json", tmp_path / "d.dmp").stdout
        assert json.loads(packed) == json.loads(plain)
        assert path.stat().st_size < (tmp_path / "d.dmp").stat().st_size


def test_convert_refuses_what_it_cannot_and_leaves_no_file(perimortem, tmp_path):
    (tmp_path / "noise").write_bytes(b"MDMP" + bytes(200))
    (tmp_path / "there.core").write_bytes(b"mine")
    for source in ("noise", "nothing"):
        result = perimortem.call("convert", tmp_path / source, tmp_path / "out.core")
        assert result.returncode == 1
        assert result.stderr.startswith("perimortem: ")
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_file()) == [
        "noise",
        "there.core",
    ]


def assert_core_is_the_same(perimortem, path, core):
    result = perimortem.call("convert", path, core)
    assert result.returncode == 0, result.stderr
    with open_snapshot(path) as before, open_snapshot(core) as after:
        assert after.threads
        assert describe_state(after) == describe_state(before)


def assert_refused(perimortem, path, core):
    result = perimortem.call("convert", path, core)
    assert result.returncode == 1
    assert f"{path}: it cannot be converted: it is not for x86-64" in result.stderr
    assert not core.exists()


def describe_state(snapshot):
    """Threads that have registers, and memory: what a core can hold of any system's dump."""
    read = snapshot.content.read
    return (
        {
            t.tid: (t.registers.general["rip"], t.registers.general["rsp"])
            for t in snapshot.threads
            if t.registers
        },
        join([(m.address, read(m.address, m.size)) for m in snapshot.memory]),
    )


@pytest.mark.parametrize("name", SYNTHETIC)
def test_made_up_dumps_of_x86_64_become_cores_and_others_are_refused(perimortem, tmp_path, name):
    path, core = tmp_path / "x.dmp", tmp_path / "out.core"
    path.write_bytes(SYNTHETIC[name].data)
    if SYNTHETIC[name].process.is_64_bit:
        assert_core_is_the_same(perimortem, path, core)
    else:
        assert_refused(perimortem, path, core)


def read_architecture(data):
    """By struct alone: the first word of SystemInfo (stream 7)."""
    count, directory = struct.unpack_from("<II", data, 8)
    entries = (struct.unpack_from("<III", data, directory + 12 * i) for i in range(count))
    rva = next(rva for kind, _, rva in entries if kind == 7)
    return struct.unpack_from("<H", data, rva)[0]


@needs_dumps
@each_shared_dump
def test_breakpads_dumps_of_x86_64_become_cores_and_others_are_refused(perimortem, tmp_path, path):
    if read_architecture(path.read_bytes()) == AMD64:
        assert_core_is_the_same(perimortem, path, tmp_path / "out.core")
    else:
        assert_refused(perimortem, path, tmp_path / "out.core")


NO_HEADERS = """
int *where;
__attribute__((noinline)) void store(void) { *where = 1; }
int main(void) { store(); return 0; }
"""
TRAP = """
int step(int value) { return value + 1; }
int main(int count, char **arguments) { return step(count); }
"""


def write_core_by_gdb(folder, source, *commands):
    (folder / "t.c").write_text(source)
    subprocess.run(["cc", "-g", "-O1", "-fno-inline", "t.c", "-o", "t"], cwd=folder, check=True)
    options = [option for command in commands for option in ("-ex", command)]
    subprocess.run(
        ["gdb", "-q", "-batch", "-nx", *options, "-ex", "generate-core-file t.core", "./t"],
        cwd=folder, check=True, capture_output=True,
    )  # fmt: skip
    return folder / "t.core"


@needs["gdb"]
def test_a_core_without_the_headers_of_files_has_its_modules(perimortem, tmp_path):
    """coredump_filter says which mappings are written; gdb leaves the others out altogether."""
    keep = 'open("/proc/%d/coredump_filter" % gdb.selected_inferior().pid, "w").write("0x3")'
    core = write_core_by_gdb(
        tmp_path, NO_HEADERS, "set use-coredump-filter on", "break main", "run",
        f"python {keep}", "delete", "continue",
    )  # fmt: skip
    document = json.loads(perimortem.call("analyze", "--json", core).stdout)
    frames = document["threads"][0]["frames"]
    assert [frame["function"] for frame in frames[:2]] == ["store", "main"]
    assert frames[0]["module"] == "t"
    assert any("nothing in the dump says whether the files" in note for note in document["notes"])


@needs["gdb"]
def test_a_stop_of_a_debugger_is_no_end_of_the_program(perimortem, tmp_path):
    core = write_core_by_gdb(tmp_path, TRAP, "break step", "run")
    document = json.loads(perimortem.call("analyze", "--json", core).stdout)
    assert "a breakpoint or a single step, as a debugger sets them" in document["reason"]["text"]
