"""What is in dumps of other writers is found there: made-up dumps, by an independent builder."""

from __future__ import annotations

import msgspec
import pytest
from synthetic_dumps import (
    BUILD_ID,
    CALLERS,
    DEBUG_ID,
    EXECUTABLE,
    FILES,
    LIBRARY,
    MAPS,
    PC,
    SYNTHETIC,
)
from test_minidump import open_dump

from perimortem.minidump.snapshot import read_snapshot
from perimortem.model.snapshot import Architecture, OperatingSystem
from perimortem.report.minidump.document import describe_dump
from perimortem.report.minidump.text import render_dump
from perimortem.testing.dumped_process import Pdb
from perimortem.unwind.walk import StackWalker

MEMORY_LISTS = ("MemoryListStream", "Memory64ListStream")
every_dump = pytest.mark.parametrize("name", SYNTHETIC)


def list_dump(name):
    return msgspec.to_builtins(describe_dump(open_dump(SYNTHETIC[name].data)))


def list_streams(name):
    document = list_dump(name)
    return {stream["name"]: stream for stream in document["streams"]}


def list_memory(process):
    parts = (*(thread.stack for thread in process.threads), *process.memory)
    return sorted((part.address, part.data) for part in parts)


@every_dump
def test_every_stream_is_listed_without_an_error(name):
    document = list_dump(name)
    assert not [stream for stream in document["streams"] if "error" in stream]
    assert (document["missing"], document["problems"]) == ([], [])
    assert document["created_at"].startswith("2023-11-14T22:13:20")
    text = render_dump(describe_dump(open_dump(SYNTHETIC[name].data)))
    assert all(module.name in text for module in SYNTHETIC[name].process.modules)


@every_dump
def test_threads_are_listed_with_their_stacks(name):
    synthetic, streams = SYNTHETIC[name], list_streams(name)
    listed = streams["ThreadListStream"]["threads"]
    assert [(t["id"], int(t["teb"], 16)) for t in listed] == [
        (t.tid, t.teb) for t in synthetic.process.threads
    ]
    for thread, entry in zip(synthetic.process.threads, listed, strict=True):
        stack = entry["stack"]
        assert (int(stack["address"], 16), stack["size_bytes"]) == (
            thread.stack.address, len(thread.stack.data),
        )  # fmt: skip
        assert synthetic.data[stack["rva"] :].startswith(thread.stack.data)


@every_dump
def test_modules_are_listed_with_what_identifies_them(name):
    listed = list_streams(name)["ModuleListStream"]["modules"]
    identities = {
        module.base: DEBUG_ID
        if isinstance(module.identity, Pdb)
        else module.identity and module.identity.hex()
        for module in SYNTHETIC[name].process.modules
    }
    assert {int(m["base"], 16): m["build_id"] for m in listed} == identities
    assert [(m["name"], m["size_bytes"], m["timestamp"]) for m in listed] == [
        (m.name, m.size, m.timestamp) for m in SYNTHETIC[name].process.modules
    ]


@every_dump
def test_memory_is_listed_where_it_lies_in_the_file(name):
    synthetic, streams = SYNTHETIC[name], list_streams(name)
    (listed,) = (streams[kind]["ranges"] for kind in MEMORY_LISTS if kind in streams)
    found = [
        (int(r["address"], 16), synthetic.data[r["rva"] : r["rva"] + r["size_bytes"]])
        for r in listed
    ]
    assert sorted(found) == list_memory(synthetic.process)


@every_dump
def test_a_snapshot_has_the_registers_and_the_memory(name):
    process = SYNTHETIC[name].process
    snapshot = read_snapshot(open_dump(SYNTHETIC[name].data))
    assert snapshot.soft_errors == []
    assert snapshot.system.architecture is (
        Architecture.X86_64 if process.is_64_bit else Architecture.X86
    )
    assert (snapshot.system.os_release, snapshot.system.os_version) == (
        process.os_text, process.os_version,
    )  # fmt: skip
    exception = process.exception
    for thread, read in zip(process.threads, snapshot.threads, strict=True):
        has_crashed = exception is not None and exception.tid == thread.tid
        expected = (has_crashed and exception.registers) or thread.registers
        assert {name: read.registers.general[name] for name in expected} == expected
        assert read.name == thread.name
    found = [(m.address, snapshot.content.read(m.address, m.size)) for m in snapshot.memory]
    assert sorted(found) == list_memory(process)


@every_dump
def test_an_exception_is_read_as_it_was_written(name):
    exception = SYNTHETIC[name].process.exception
    read = read_snapshot(open_dump(SYNTHETIC[name].data)).exception
    if exception is None:
        assert read is None
        return
    assert (read.tid, read.code, read.flags, read.address, read.parameters) == (
        exception.tid, exception.code, exception.flags, exception.address, exception.parameters,
    )  # fmt: skip


@every_dump
def test_the_first_thread_is_walked_by_its_frame_pointers(name):
    walker = StackWalker(read_snapshot(open_dump(SYNTHETIC[name].data)), lambda module: None)
    first, *callers = [frame.pc for frame in next(iter(walker.walk_all())).frames]
    assert tuple(callers) == CALLERS
    assert first == (0x12F040 if name == "windows-code-on-stack" else PC)


def test_breakpads_files_of_proc():
    streams = list_streams("breakpad-null-write")
    assert streams["LinuxCmdLine"]["text"].split() == ["/opt/app/server", "--port", "80"]
    assert "Test CPU" in streams["LinuxCpuInfo"]["text"]
    assert streams["LinuxEnviron"]["variables"] == ["PATH", "PASSWORD"]
    assert streams["LinuxAuxv"]["auxv"]["AT_ENTRY"] == f"{PC:#x}"
    assert streams["LinuxDsoDebug"]["link_maps"] == [
        {"base": "0x0", "name": ""}, {"base": f"{LIBRARY.base:#x}", "name": "/lib/libc.so.6"},
    ]  # fmt: skip
    assert "hunter2" not in str(streams)
    snapshot = read_snapshot(open_dump(SYNTHETIC["breakpad-null-write"].data))
    assert (snapshot.pid, snapshot.system.os) == (4711, OperatingSystem.LINUX)
    assert snapshot.files["maps"] == MAPS
    assert snapshot.files["cmdline"] == FILES.cmdline
    regions = {(r.start, r.writable, r.executable, r.path) for r in snapshot.regions}
    assert (0x7FFC00001000, True, False, "[stack]") in regions
    assert (0x400000, False, True, "/opt/app/server") in regions
    assert snapshot.modules[0].build_id == BUILD_ID


def test_entries_that_breakpad_left_unused_are_no_error_and_hide_nothing():
    streams = list_dump("breakpad-null-write")["streams"]
    names = [stream["name"] for stream in streams]
    assert names.count("UnusedStream") == 1
    assert names.index("UnusedStream") < names.index("LinuxMaps")
    asked_for = list_dump("breakpad-asked-for")["streams"]
    assert [stream["name"] for stream in asked_for].count("UnusedStream") == 9


def test_crashpads_annotations():
    stream = list_streams("crashpad-text-pointer")["CrashpadInfoStream"]
    assert stream["crashpad_version"] == 1
    assert stream["report_id"] == "00112233-4455-6677-8899-aabbccddeeff"
    assert stream["client_id"] == "aabbccdd-0000-1111-2222-33334444555f"
    assert stream["simple_annotations"] == {"version": "1.2.3", "prod": "Größe"}
    assert stream["crashpad_modules"] == [
        {
            "module_index": 0,
            "list_annotations": ["first", "second"],
            "simple_annotations": {"channel": "beta"},
            "annotations": {"thread-pool": "busy"},
        },
        {"module_index": 1, "list_annotations": [], "simple_annotations": {}, "annotations": {}},
    ]


def test_a_dump_of_macos():
    assert list_streams("crashpad-macos")["SystemInfoStream"]["platform"] == "MAC_OS_X"
    snapshot = read_snapshot(open_dump(SYNTHETIC["crashpad-macos"].data))
    assert snapshot.system.os is OperatingSystem.MACOS


def test_everything_that_dbghelp_writes():
    document = list_dump("windows-everything")
    assert document["version"] == "A793 (A061)"
    streams = {stream["name"]: stream for stream in document["streams"]}
    names = [(t["id"], t["name"]) for t in streams["ThreadListStream"]["threads"]]
    assert names == [(0x1A2C, None), (0x1A30, "wörker")]
    assert streams["SystemInfoStream"]["csd_version"] == "Service Pack 2"
    assert streams["MiscInfoStream"]["process_id"] == 6000
    assert streams["MiscInfoStream"]["build_string"] == "19041.1.amd64fre"
    assert streams["ModuleListStream"]["modules"][0]["version"] == "1.2.3.4"
    handles = streams["HandleDataStream"]
    assert handles["descriptor_size"] == 40
    assert [(h["type"], h["name"], h["granted_access"]) for h in handles["handles"]] == [
        ("Mutant", r"\Sessions\1\BaseNamedObjects\only-one", "0x1f0001"), ("Event", "", "0x3"),
    ]  # fmt: skip
    (gone,) = streams["UnloadedModuleListStream"]["modules"]
    assert (gone["name"], gone["base"], gone["timestamp"]) == ("gone.dll", "0x10000000", 5)
    regions = [
        (r["base"], r["state"], r["protect"]) for r in streams["MemoryInfoListStream"]["regions"]
    ]
    assert ("0x500000", "0x10000", "0x1") in regions
    snapshot = read_snapshot(open_dump(SYNTHETIC["windows-everything"].data))
    assert (snapshot.pid, snapshot.system.os) == (6000, OperatingSystem.WINDOWS)
    assert [(h.number, h.type_name) for h in snapshot.handles] == [
        (0x44, "Mutant"),
        (0x48, "Event"),
    ]
    assert (snapshot.modules[0].debug_id, snapshot.modules[0].build_id) == (DEBUG_ID, None)
    mapped = {r.start: (r.writable, r.executable) for r in snapshot.regions}
    assert mapped[0x12F000] == (True, False)
    assert mapped[0x401000] == (False, True)
    assert 0x500000 not in mapped  # it is free


def test_counts_of_8_bytes_and_handles_of_the_first_version():
    streams = list_streams("windows-old")
    assert streams["ModuleListStream"]["size_bytes"] == 8 + 2 * 108
    assert streams["ModuleListStream"]["modules"][0]["name"] == EXECUTABLE.name
    assert streams["HandleDataStream"]["descriptor_size"] == 32
    (handle,) = streams["HandleDataStream"]["handles"]
    assert (handle["type"], handle["name"]) == ("Key", r"\REGISTRY\MACHINE")
