"""Readers that are not ours, on dumps that are: they agree on threads, modules, memory and exception.

And on synthetic dumps of other writers, which shows that these are built correctly.
"""

from __future__ import annotations

import json
import logging
import shutil
import subprocess
from contextlib import closing
from pathlib import Path

import pytest
import udmp_parser
from conftest import await_true
from minidump.minidumpfile import MinidumpFile as SkelsecFile
from synthetic_dumps import SYNTHETIC

from perimortem.dumping.open import open_snapshot
from perimortem.dumping.write import write_dump
from perimortem.model.dump import FULL, MINI, DumpOptions, MinidumpType, Pause
from perimortem.proc import find_process

pytestmark = pytest.mark.system

RICH = FULL | MinidumpType.WITH_TOKEN_INFORMATION | MinidumpType.WITH_AVX_XSTATE_CONTEXT
KINDS = {
    "mini": (MINI, Pause.STOP),
    "full": (FULL, Pause.STOP),
    "rich snapshot": (RICH, Pause.SNAPSHOT),
    "unstopped": (MINI, Pause.NONE),
}


@pytest.fixture(params=KINDS)
def path(request, start, tmp_path):
    types, pause = KINDS[request.param]
    program = start("many_threads", 6)
    # Of a thread that runs there is no context without a stop.
    await_true(lambda: _is_asleep(program.pid))
    result = write_dump(find_process(program.pid), tmp_path / "d.dmp", DumpOptions(types, pause))
    return Path(result.path)


def _is_asleep(pid):
    states = (
        stat.read_text().rpartition(") ")[2][0] for stat in Path(f"/proc/{pid}/task").glob("*/stat")
    )
    return set(states) == {"S"}


@pytest.fixture
def crash(perimortem, programs):
    perimortem.call("run", "-q", "--", programs / "crash_null")
    (dump,) = (perimortem.data_dir / "dumps").glob("*.dmp")
    return dump


def read_ours(path):
    """Threads with their instruction pointers, modules, memory."""
    with open_snapshot(path) as snapshot:
        threads = {t.tid: t.registers.general["rip"] for t in snapshot.threads}
        modules = {m.base: (m.path, m.size) for m in snapshot.modules}
        memory = {m.address: snapshot.content.read(m.address, m.size) for m in snapshot.memory}
        return threads, modules, memory


def test_udmp_parser_agrees(path):
    theirs = udmp_parser.UserDumpParser()
    assert theirs.Parse(path)
    threads, modules, memory = read_ours(path)
    assert {tid: thread.Context.Rip for tid, thread in theirs.Threads().items()} == threads
    named = {base: (m.ModuleName, m.SizeOfImage) for base, m in theirs.Modules().items()}
    assert named == modules
    # It knows memory by the mappings of MemoryInfoList, and aborts on what begins inside of one.
    shared = {address for address, block in theirs.Memory().items() if block.DataSize} & set(memory)
    assert len(shared) > 5 or not theirs.Memory()
    for address in shared:
        data = memory[address]
        assert bytes(theirs.ReadMemory(address, min(len(data), 4096))) == data[:4096]


def test_udmp_parser_finds_the_thread_that_crashed(crash):
    theirs = udmp_parser.UserDumpParser()
    assert theirs.Parse(crash)
    with open_snapshot(crash) as snapshot:
        assert theirs.ForegroundThreadId() == snapshot.exception.tid


def test_minidump_of_skelsec_agrees(path):
    logging.getLogger().setLevel(logging.CRITICAL)  # it looks for a PEB, and says at length that
    theirs = SkelsecFile.parse(str(path))  # there is none
    threads, modules, memory = read_ours(path)
    assert [thread.ThreadId for thread in theirs.threads.threads] == list(threads)
    assert {m.baseaddress: (m.name, m.size) for m in theirs.modules.modules} == modules
    segments = (theirs.memory_segments_64 or theirs.memory_segments).memory_segments
    assert [(s.start_virtual_address, s.size) for s in segments] == [
        (address, len(data)) for address, data in memory.items()
    ]
    with closing(theirs.file_handle):
        reader = theirs.get_reader()
        for address, data in memory.items():
            assert reader.read(address, min(len(data), 4096)) == data[:4096]


@pytest.mark.parametrize("name", [name for name in SYNTHETIC if name != "windows-old"])
def test_synthetic_dumps_are_what_they_claim_to_be(name, tmp_path):
    """But for counts of 8 bytes, which neither of them knows."""
    process, path = SYNTHETIC[name].process, tmp_path / "x.dmp"
    path.write_bytes(SYNTHETIC[name].data)
    udmp = udmp_parser.UserDumpParser()
    assert udmp.Parse(path)
    counter = "Rip" if process.is_64_bit else "Eip"
    assert {tid: getattr(thread.Context, counter) for tid, thread in udmp.Threads().items()} == {
        thread.tid: thread.registers[counter.lower()] for thread in process.threads
    }
    modules = [(module.base, module.size, module.name) for module in process.modules]
    assert [(b, m.SizeOfImage, m.ModuleName) for b, m in sorted(udmp.Modules().items())] == modules

    logging.getLogger().setLevel(logging.CRITICAL)
    skelsec = SkelsecFile.parse(str(path))
    with closing(skelsec.file_handle):
        listed = [(m.baseaddress, m.size, m.name) for m in skelsec.modules.modules]
        assert listed == modules
        assert [t.ThreadId for t in skelsec.threads.threads] == [t.tid for t in process.threads]
        reader = skelsec.get_reader()
        for memory in (*(thread.stack for thread in process.threads), *process.memory):
            assert reader.read(memory.address, len(memory.data)) == memory.data


needs_stackwalk = pytest.mark.skipif(
    not shutil.which("minidump-stackwalk"),
    reason="minidump-stackwalk is not installed (cargo install minidump-stackwalk)",
)


def walk(path):
    result = subprocess.run(
        ["minidump-stackwalk", "--json", path], capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    return json.loads(result.stdout)


@needs_stackwalk
def test_minidump_stackwalk_agrees(path):
    theirs = walk(path)
    threads, modules, _ = read_ours(path)
    walked = [int(thread["frames"][0]["offset"], 16) for thread in theirs["threads"]]
    assert walked == list(threads.values())
    listed = {int(m["base_addr"], 16): m["filename"] for m in theirs["modules"]}
    assert listed == {base: Path(name).name for base, (name, _) in modules.items()}


@needs_stackwalk
def test_minidump_stackwalk_names_the_crash(crash):
    theirs = walk(crash)
    with open_snapshot(crash) as snapshot:
        crashed = [thread.tid for thread in snapshot.threads].index(snapshot.exception.tid)
    assert theirs["crash_info"]["crashing_thread"] == crashed
    assert theirs["crash_info"]["type"].startswith("SIGSEGV")
