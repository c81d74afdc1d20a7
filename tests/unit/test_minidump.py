"""The minidump format: golden bytes, our own dumps read back, other people's dumps, and noise."""

import io
import struct
from pathlib import Path

import pytest
from conftest import SHARED_DUMPS, each_shared_dump, needs_dumps
from hypothesis import given, settings
from hypothesis import strategies as st

from perimortem.documents.dump_listing import DamagedStream
from perimortem.errors import MalformedInput
from perimortem.minidump import extensions
from perimortem.minidump import format as layout
from perimortem.minidump.reader import MinidumpFile
from perimortem.minidump.writer import write_minidump
from perimortem.model.dump import FULL, MINI, MinidumpType, format_flags
from perimortem.model.snapshot import (
    Architecture,
    ExceptionRecord,
    Handle,
    MemoryRange,
    Module,
    Region,
    Registers,
    Snapshot,
    SystemFacts,
    Thread,
)
from perimortem.report.minidump.document import describe_dump
from perimortem.report.minidump.text import render_dump
from perimortem.testing.plain_memory import PlainMemory

NAMES = (
    "r15 r14 r13 r12 rbp rbx r11 r10 r9 r8 rax rcx rdx rsi rdi orig_rax rip cs eflags rsp ss "
    "fs_base gs_base ds es fs gs"
).split()
STACK = bytes(range(256)) * 16


def make_snapshot(**changes):
    registers = Registers({n: i for i, n in enumerate(NAMES)} | {"rsp": 0x7000, "rip": 0x401136})
    fields = {
        "pid": 4711, "taken_at_s": 1795262643, "process_create_time_s": 1795262000,
        "user_time_s": 3, "kernel_time_s": 1,
        "system": SystemFacts(Architecture.X86_64, "Linux test", (6, 18, 44), 2, "GenuineIntel"),
        "threads": (
            Thread(4711, "main", registers, "S", 30_000_000, 10_000_000, 5, 3),
            Thread(4712, "wörker", None),
        ),
        "modules": (Module(0x400000, 0x5000, "/bin/test", bytes.fromhex("aabbccdd")),),
        "regions": (Region(0x7000, 0x8000, True, True, False, False, 0, 0, "[stack]"),),
        "memory": (MemoryRange(0x7000, 4096),),
        "handles": (Handle(3, "file", "/tmp/ä"),),
        "files": {"maps": b"7000-8000 rw-p", "auxv": b"\0" * 16},
        "content": PlainMemory(lambda address, size: STACK[address - 0x7000 :][:size]),
        "soft_errors": ["thread 4712 did not stop"],
    } | changes  # fmt: skip
    return Snapshot(**fields)


def write(snapshot, types=MINI):
    out = io.BytesIO()
    size = write_minidump(snapshot, types, out)
    assert size == len(out.getvalue())
    return out.getvalue()


def open_dump(data):
    return MinidumpFile(lambda offset, size: data[offset : offset + size], len(data))


@pytest.mark.parametrize(
    ("record", "size"),
    [
        (layout.Header, 32), (layout.Directory, 12), (layout.RawThread, 48),
        (layout.RawModule, 108), (layout.MemoryDescriptor, 16), (layout.MemoryDescriptor64, 16),
        (layout.RawSystemInfo, 56), (layout.MiscInfo, 24), (layout.ThreadInfo, 64),
        (layout.HandleDescriptor, 32), (layout.HandleDescriptor2, 40), (layout.MemoryInfo, 48),
        (layout.ThreadNameEntry, 12), (layout.RawException, 40), (layout.UnloadedModule, 24),
        (extensions.RawDsoDebug, 36), (extensions.RawLinkMap, 20), (layout.FixedFileInfo, 52),
    ],
)  # fmt: skip
def test_records_have_the_sizes_of_the_sdk(record, size):
    assert record.size() == size


def test_golden_bytes_of_head_thread_and_context():
    """Checked by struct alone, against the offsets of minidumpapiset.h and winnt.h."""
    data = write(make_snapshot())
    magic, version, count, directory = struct.unpack_from("<4sIII", data)
    assert (magic, version) == (b"MDMP", 0xA793)
    (flags,) = struct.unpack_from("<Q", data, 24)
    assert flags == 0x1105
    streams = {}
    for i in range(count):
        kind, size, rva = struct.unpack_from("<III", data, directory + 12 * i)
        streams[kind] = (size, rva)
    size, rva = streams[3]
    assert size == 4 + 2 * 48
    tid, _, _, _, teb, stack_at, stack_size, stack_rva, context_size, context_rva = (
        struct.unpack_from("<IIIIQQIIII", data, rva + 4)
    )
    assert (tid, teb, stack_at, stack_size) == (4711, NAMES.index("fs_base"), 0x7000, 4096)
    assert data[stack_rva : stack_rva + 4096] == STACK
    assert context_size == 1232
    assert struct.unpack_from("<Q", data, context_rva + 0xF8)[0] == 0x401136
    assert struct.unpack_from("<Q", data, context_rva + 0x98)[0] == 0x7000
    assert struct.unpack_from("<I", data, context_rva + 0x30)[0] == 0x10000F
    _, rva = streams[4]
    base, image, _, _, name = struct.unpack_from("<QIIII", data, rva + 4)
    assert (base, image) == (0x400000, 0x5000)
    (length,) = struct.unpack_from("<I", data, name)
    assert data[name + 4 : name + 4 + length].decode("utf-16-le") == "/bin/test"
    cv_size, cv_rva = struct.unpack_from("<II", data, rva + 4 + 76)
    assert data[cv_rva : cv_rva + cv_size] == b"LEpB" + bytes.fromhex("aabbccdd")


def test_our_own_dump_reads_back():
    document = describe_dump(open_dump(write(make_snapshot())))
    streams = {stream.name: stream for stream in document.streams}
    assert not any(isinstance(stream, DamagedStream) for stream in streams.values())
    assert document.missing == []
    assert streams["ThreadListStream"].threads[0].name == "main"
    assert streams["ThreadListStream"].threads[1].instruction_pointer is None
    assert streams["HandleDataStream"].handles[0].name == "/tmp/ä"
    assert streams["MozSoftErrors"].soft_errors == ["thread 4712 did not stop"]
    assert streams["MemoryListStream"].total_bytes == 4096
    assert streams["MiscInfoStream"].process_id == 4711
    text = render_dump(document)
    assert "MiniDumpWithHandleData" in text
    assert 'Handle(0000000000000003,"file","/tmp/ä")' in text


def test_the_crashed_thread_comes_first_and_has_the_exceptions_context():
    snapshot = make_snapshot(
        threads=(Thread(1, "a", None), make_snapshot().threads[0]),
        exception=ExceptionRecord(4711, 11, 1, 0x10),
    )
    dump = open_dump(write(snapshot))
    assert dump.read_threads(dump.find(3))[0].thread_id == 4711
    facts = dump.read_exception(dump.find(6))
    assert (facts.raw.code, facts.raw.address, facts.context.data_size) == (11, 0x10, 1232)


def test_full_memory_comes_last_and_holes_are_zero_and_named():
    def read(address, size):
        return (
            b""
            if 0x9000 <= address < 0xA000
            else b"x" * min(size, 0x9000 - address if address < 0x9000 else size)
        )

    snapshot = make_snapshot(memory=(MemoryRange(0x8000, 0x3000),), content=PlainMemory(read))
    data = write(snapshot, FULL)
    dump = open_dump(data)
    facts = dump.read_memory64(dump.find(9))
    assert dump.find(9).size == 16 + 16 * 1
    assert data[facts.base_rva :] == b"x" * 4096 + bytes(4096) + b"x" * 4096
    errors = describe_dump(dump).streams[-1].soft_errors
    assert any("4096 bytes at 0x8000" in error for error in errors)


def test_ten_thousand_soft_errors_fit():
    dump = open_dump(write(make_snapshot(soft_errors=[f"error {i} äöü" for i in range(10_000)])))
    errors = describe_dump(dump).streams[-1].soft_errors
    assert "more soft errors" in errors[-1]


def test_flags_by_name():
    assert format_flags(0x1105) == [
        "MiniDumpWithDataSegs",
        "MiniDumpWithHandleData",
        "MiniDumpWithProcessThreadData",
        "MiniDumpWithThreadInfo",
    ]
    assert format_flags(0) == ["MiniDumpNormal"]
    assert format_flags(0x200000) == ["MiniDumpWithAvxXStateContext"]
    assert "unknown bits 0x80000000" in format_flags(0x80000000)


def test_missing_data_are_described():
    document = describe_dump(open_dump(write(make_snapshot(handles=None))))
    assert (
        "MiniDumpWithHandleData was requested, but there is no HandleDataStream" in document.missing
    )


@pytest.mark.parametrize("data", [b"", b"M", b"not a dump at all" * 9, b"MDMP" + bytes(28)])
def test_not_a_minidump(data):
    with pytest.raises(MalformedInput):
        open_dump(data)


@given(st.integers(0, 1 << 16))
@settings(max_examples=60)
def test_a_cut_dump_is_listed_as_far_as_it_goes(length):
    data = write(make_snapshot())[:length]
    try:
        document = describe_dump(open_dump(data))
    except MalformedInput:
        return
    render_dump(document)


@given(st.lists(st.tuples(st.integers(0, 8191), st.integers(0, 255)), min_size=1, max_size=40))
@settings(max_examples=300)
def test_a_damaged_dump_raises_nothing_but_our_own_error(changes):
    data = bytearray(write(make_snapshot()))
    for at, value in changes:
        data[at % len(data)] = value
    try:
        document = describe_dump(open_dump(bytes(data)))
    except MalformedInput:
        return
    render_dump(document)


@needs_dumps
@each_shared_dump
def test_dumps_of_other_writers_list_without_an_error(path: Path):
    document = describe_dump(open_dump(path.read_bytes()))
    assert document.streams
    assert not [stream for stream in document.streams if isinstance(stream, DamagedStream)]
    render_dump(document)


@needs_dumps
def test_breakpads_own_listing_agrees_on_threads_modules_and_memory():
    expected = (SHARED_DUMPS / "minidump2.dump.out").read_text()
    document = describe_dump(open_dump((SHARED_DUMPS / "minidump2.dmp").read_bytes()))
    streams = {stream.name: stream for stream in document.streams}
    for count, name in (
        (len(streams["ThreadListStream"].threads), "thread_count"),
        (len(streams["ModuleListStream"].modules), "module_count"),
        (len(streams["MemoryListStream"].ranges), "region_count"),
    ):
        assert f"{name} = {count}\n" in expected
    for module in streams["ModuleListStream"].modules:
        assert f"base_of_image                   = {module.base}" in expected
        assert module.name in expected


def test_unknown_flag_words_are_none_of_the_sdks():
    assert MinidumpType(0x1105) == MINI
