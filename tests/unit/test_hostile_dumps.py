"""Untrusted files: only our own error is raised for any content, and soon.

``hostile/`` holds what fuzzing has found (make fuzz), made small.
"""

from __future__ import annotations

import io
import struct
from functools import cache
from pathlib import Path

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from test_minidump import make_snapshot, open_dump, write

from perimortem.analysis.crash_context import CrashContext
from perimortem.analysis.python_locks import find_python_locks
from perimortem.analysis.reason import derive_reason
from perimortem.analysis.signature import derive_signature
from perimortem.analysis.waits import derive_waits, find_cycles
from perimortem.binary.elf_image import ElfImage
from perimortem.documents.dump_listing import MemoryList
from perimortem.dumping.compressed import CompressedReader, CompressedWriter
from perimortem.elfcore.reader import CoreFile, is_core
from perimortem.elfcore.writer import write_core
from perimortem.errors import MalformedInput, PerimortemError
from perimortem.minidump.snapshot import read_snapshot
from perimortem.minidump.writer import write_minidump
from perimortem.model.dump import FULL, MINI, MinidumpType
from perimortem.model.examination import Examination
from perimortem.model.snapshot import Architecture, Registers
from perimortem.report.examination.document import render_examination
from perimortem.report.examination.inventory import render_inventory
from perimortem.report.examination.text import render_analysis, render_stacks
from perimortem.report.html.page import render_page
from perimortem.report.minidump.document import describe_dump
from perimortem.report.minidump.hexdump import render_memory
from perimortem.report.minidump.text import render_dump
from perimortem.symbols.demangle import demangle
from perimortem.symbols.elf_symbols import read_elf_symbols
from perimortem.unwind.walk import StackWalker

ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"
HOSTILE = sorted(Path(__file__).with_name("hostile").iterdir())


def exercise(data):
    """Every step that reads an untrusted file: reader, listing, converter."""

    def read(offset, size):
        return data[offset : offset + size]

    try:
        if data[:4] == ZSTD_MAGIC:
            unpacked = CompressedReader(read, len(data))
            unpacked.read(0, 1 << 20)
            unpacked.read(max(0, unpacked.size - 100), 200)
            return
        if is_core(data[:18]):
            snapshot = CoreFile(read, len(data)).read_snapshot()
        else:
            dump = open_dump(data)
            render_dump(describe_dump(dump, limit=50))
            snapshot = read_snapshot(dump)
        examine(snapshot)
        is_ours = snapshot.system.architecture is Architecture.X86_64  # others are not converted
        if is_ours and sum(memory.size for memory in snapshot.memory) < 16 << 20:
            write_core(snapshot, io.BytesIO())
            write_minidump(snapshot, MINI, io.BytesIO())
    except PerimortemError:
        return


def examine(snapshot):
    """Stacks, waits, reason, signature: by the dump alone."""
    walker = StackWalker(snapshot, lambda module: read_image(snapshot, module))
    stacks = tuple(walker.walk_all())
    assert len(stacks) == len(snapshot.threads)
    find_cycles(derive_waits(snapshot, stacks, walker.modules.read))
    find_python_locks(snapshot.threads, snapshot.regions, walker.modules.read)
    crashed = None
    if snapshot.exception is not None:
        tid = snapshot.exception.tid
        crashed = next((s for s in stacks if s.tid == tid), None)
    registers = next(
        (t.registers for t in snapshot.threads if crashed and t.tid == crashed.tid), None
    )
    reason = None
    if crashed is not None:
        scene = CrashContext(
            snapshot, crashed, registers or Registers({}), walker.modules.read,
            decode=lambda code, address: None, find_symbol=lambda module, name: None,
            demangle=lambda name: name,
        )  # fmt: skip
        reason = derive_reason(scene)
        derive_signature(crashed, reason)
    cycles = waits = ()
    examination = Examination(
        snapshot, stacks, crashed and crashed.tid, reason, None, waits, cycles, (), ()
    )
    document = render_examination(examination)
    render_stacks(document)
    render_analysis(document, name="x")
    render_page(None, document, render_inventory(snapshot))


def read_image(snapshot, module):
    """As it lies in memory: frame information in a hostile dump."""
    try:
        return ElfImage(
            lambda offset, size: snapshot.content.read(module.base + offset, size), in_memory=True
        )
    except MalformedInput:
        return None


@pytest.mark.parametrize("path", HOSTILE, ids=lambda path: path.name)
def test_what_fuzzing_has_found(path):
    exercise(path.read_bytes())


def as_core(snapshot):
    out = io.BytesIO()
    write_core(snapshot, out)
    return out.getvalue()


EVERYTHING = FULL | MinidumpType.WITH_AVX_XSTATE_CONTEXT | MinidumpType.WITH_TOKEN_INFORMATION
RICH = make_snapshot(
    token={"uids": [0]}, record={"heartbeats": [], "events": []}, soft_errors=["one"]
)
SEEDS = {
    "mini": write(make_snapshot()),
    "full": write(RICH, EVERYTHING),
    "core": as_core(RICH),
}


@pytest.mark.parametrize("seed", SEEDS)
@given(st.lists(st.tuples(st.integers(0, 1 << 16), st.integers(0, 255)), min_size=1, max_size=40))
@settings(max_examples=150)
def test_changed_bytes(seed, changes):
    data = bytearray(SEEDS[seed])
    for at, value in changes:
        data[at % len(data)] = value
    exercise(bytes(data))


@pytest.mark.parametrize("seed", SEEDS)
@given(st.integers(0, 1 << 16), st.sampled_from([0, 1, 0x7FFFFFFF, 0xFFFFFFFF, 0xFFFFFFF0]))
@settings(max_examples=150)
def test_great_numbers_in_any_place(seed, at, number):
    data = bytearray(SEEDS[seed])
    at = at * 4 % (len(data) - 8)
    struct.pack_into("<I", data, at, number)
    exercise(bytes(data))


@pytest.mark.parametrize("seed", SEEDS)
def test_cut_at_every_length(seed):
    data = SEEDS[seed]
    for length in range(0, min(len(data), 6000), 37):
        exercise(data[:length])


def minidump_of(*streams):
    """(type, content) each; content may be (size, rva) of a place that was claimed."""
    head = 32 + 12 * len(streams)
    directory, body = b"", b""
    for kind, content in streams:
        size, rva = (len(content), head + len(body)) if isinstance(content, bytes) else content
        directory += struct.pack("<III", kind, size, rva)
        body += content if isinstance(content, bytes) else b""
    flags = struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, len(streams), 32, 0, 0, 0)
    return flags + directory + body


@pytest.mark.parametrize("kind", [3, 4, 5, 8, 9, 12, 13, 14, 15, 16, 17, 18, 19, 21, 22, 24])
@pytest.mark.parametrize("count", [1, 0xFFFF, 0x7FFFFFFF, 0xFFFFFFFF])
def test_counts_that_no_file_could_hold(kind, count):
    content = struct.pack("<IIIIQ", count, count, count, count, count) + bytes(64)
    exercise(minidump_of((kind, content)))


def test_streams_that_lie_over_each_other_or_the_head_are_named():
    content = struct.pack("<I", 0) * 4
    document = describe_dump(open_dump(minidump_of((3, content), (5, (16, 72)), (4, (8, 0)))))
    problems = "\n".join(document.problems)
    assert "stream 1 (MemoryListStream) overlaps stream 0 (ThreadListStream)" in problems
    assert "the header overlaps stream 2 (ModuleListStream)" in problems


def test_a_stream_that_comes_twice_is_named():
    content = struct.pack("<I", 0)
    document = describe_dump(open_dump(minidump_of((3, content), (3, content))))
    assert document.problems == ["stream 1: a second ThreadListStream; readers use the first"]


def test_ranges_that_overlap_or_lie_outside_are_counted():
    ranges = struct.pack("<QIIQIIQII", 0x1000, 64, 0, 0x1020, 64, 0, 0x9000, 1 << 20, 0)
    document = describe_dump(open_dump(minidump_of((5, struct.pack("<I", 3) + ranges))))
    (stream,) = document.streams
    assert (stream.overlapping, stream.outside_file, stream.count) == (1, 1, 3)
    assert "1 range overlaps" in render_dump(document)


def test_streams_that_are_the_same_bytes_are_not_listed_without_end():
    rows = struct.pack("<I", 2000) + b"".join(
        struct.pack("<QII", i << 12, 0, 0) for i in range(2000)
    )
    at = 32 + 12 * 500
    data = minidump_of(*[(5, (len(rows), at))] * 499, (5, rows))
    document = describe_dump(open_dump(data))
    listed = [stream for stream in document.streams if isinstance(stream, MemoryList)]
    assert len(listed) < 5
    assert "claim more bytes than the file has" in document.streams[-1].error


def test_memory_that_is_the_same_bytes_is_not_converted_without_end():
    ranges = b"".join(struct.pack("<QII", i << 20, 1 << 16, 64) for i in range(1000))
    data = minidump_of((5, struct.pack("<I", 1000) + ranges)) + bytes(1 << 16)
    with pytest.raises(MalformedInput, match="it claims"):
        read_snapshot(open_dump(data))


def test_a_million_ranges_are_listed_without_a_million_objects():
    count = 1_000_000
    body = bytearray(struct.pack("<QQ", count, 1 << 31))
    body += b"".join(struct.pack("<QQ", 0x10000 + i * 8192, 4096) for i in range(count))
    data = minidump_of((9, bytes(body)))
    document = describe_dump(open_dump(data), limit=10)
    (stream,) = document.streams
    assert stream.count == count
    assert len(stream.ranges) == 10
    assert stream.total_bytes == count * 4096
    assert stream.outside_file == count
    assert stream.overlapping == 0


@given(st.lists(st.tuples(st.integers(0, 1 << 15), st.integers(0, 255)), min_size=1, max_size=20))
@example([(4956, 240)])  # a frame that claims more memory than there is
@settings(max_examples=150)
def test_a_damaged_compressed_file(changes):
    pytest.importorskip("zstandard")
    data = bytearray(make_compressed())
    for at, value in changes:
        data[-1 - at % len(data)] = value
    try:
        reader = CompressedReader(
            lambda offset, size: bytes(data[offset : offset + size]), len(data)
        )
        reader.read(0, 1 << 20)
        reader.read(max(0, reader.size - 100), 200)
    except MalformedInput:
        return


def compress(head, memory, hole):
    out = io.BytesIO()

    def write_at(piece, offset):
        out.seek(offset)
        out.write(piece)

    writer = CompressedWriter(write_at)
    writer.seek(len(head))
    writer.write(memory)
    writer.seek(hole, 1)
    writer.write(memory)
    writer.seek(0)
    writer.write(head)
    writer.finish()
    return out.getvalue()


@cache
def make_compressed():
    return compress(b"head" * 100, bytes(range(256)) * 64, 5000)


def test_any_part_of_a_compressed_file_can_be_read():
    pytest.importorskip("zstandard")
    head, memory, hole = b"head" * 100, bytes(range(256)) * 64, 9 << 20
    data = compress(head, memory, hole)
    assert len(data) < 1 << 16
    reader = CompressedReader(lambda offset, size: data[offset : offset + size], len(data))
    plain = head + memory + bytes(hole) + memory
    assert reader.size == len(plain)
    for at, size in ((0, 10), (390, 30), (len(head) + 100, 5 << 20), (len(plain) - 5, 100)):
        assert reader.read(at, size) == plain[at : at + size]


def test_memory_in_hex_with_holes():
    snapshot = read_snapshot(open_dump(write(make_snapshot())))
    lines = list(render_memory(snapshot.content, 0x7FF8, 16))
    assert lines[0].startswith("0000000000007ff0  ")
    assert "f8 f9 fa fb fc fd fe ff" in lines[0]
    assert "?? ?? ?? ?? ?? ?? ?? ??" in lines[1]


def elf_of(*sections):
    """(name, type, link, contents) each: an image without segments."""
    names = b"\0" + b"".join(name.encode() + b"\0" for name, *_ in sections) + b".shstrtab\0"
    sections = (*sections, (".shstrtab", 3, 0, names))
    head = struct.pack(
        "<16sHHIQQQIHHHHHH", b"\x7fELF\2\1\1", 3, 62, 1, 0, 0, 64, 0, 64, 56, 0, 64,
        len(sections) + 1, len(sections),
    )  # fmt: skip
    headers, body, at = bytes(64), b"", 64 * (len(sections) + 2)
    for name, kind, link, content in sections:
        place = names.index(name.encode() + b"\0")
        offset = at + len(body)
        fields = (place, kind, 0, 0, offset, len(content), link, 0, 8, 24)
        headers += struct.pack("<IIQQQQIIQQ", *fields)
        body += content
    return head + headers + body


def read_symbols(count, name_of, strings):
    rows = [struct.pack("<IBBHQQ", name_of(i), 2, 0, 1, 0x1000 + i, 1) for i in range(count)]
    data = elf_of((".symtab", 2, 2, b"".join(rows)), (".strtab", 3, 0, strings))
    return read_elf_symbols(ElfImage(lambda offset, size: data[offset : offset + size]))


def test_the_names_of_a_symbol_table_are_read():
    table = read_symbols(3, lambda i: 1 + 6 * i, b"\0first\0other\0third\0")
    assert [table.find(0x1000 + i).name for i in range(3)] == ["first", "other", "third"]


def test_symbols_that_share_one_long_name_do_not_multiply_it():
    """20,000 names in one of 100 KB were 2 GB."""
    strings = b"\0" + b"a" * 100_000 + b"\0"
    table = read_symbols(20_000, lambda i: 1 + i, strings)
    assert 0 < len(table.to_bytes()) < 10 << 20


def test_a_short_mangled_name_of_a_very_long_one_stays_as_it_is():
    """Each level doubles it: 175 bytes are 4 MB."""
    digits = "0123456789ABCDEFG"
    bomb = "_Z1fSt4pairIiiE" + "".join(f"S_IS{digit}_S{digit}_E" for digit in digits[:16])
    assert demangle(bomb) == bomb
    assert demangle("_Z1fSt4pairIiiE") in ("f(std::pair<int, int>)", "_Z1fSt4pairIiiE")
