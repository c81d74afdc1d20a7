"""Every record that we write, byte by byte, by struct alone: offsets as minidumpapiset.h has them."""

from __future__ import annotations

import json
import struct

import pytest
from test_minidump import NAMES, make_snapshot, write

from perimortem.model.dump import FULL, MinidumpType
from perimortem.model.snapshot import (
    DsoDebug,
    ExceptionRecord,
    Handle,
    LinkMapEntry,
    Module,
    Registers,
    Thread,
)

TYPES = FULL | MinidumpType.WITH_TOKEN_INFORMATION | MinidumpType.WITH_AVX_XSTATE_CONTEXT
REGISTERS = Registers(
    {name: index for index, name in enumerate(NAMES)} | {"rsp": 0x7000, "rip": 0x401136},
    floating_point=bytes(range(256)) * 2,
    extended=b"\xa5" * 832,
)
SNAPSHOT = make_snapshot(
    modules=(Module(0x400000, 0x5000, "/bin/test", bytes.fromhex("aabbccdd"), (1, 2, 0, 0)),),
    threads=(
        Thread(4711, "main", REGISTERS, "S", 30, 10, 5, 3, 20, 0x401000),
        Thread(4712, "wörker", None),
    ),
    exception=ExceptionRecord(4711, 11, 1, 0xDEAD),
    handles=(Handle(3, "file", "/tmp/ä", 0o2, {"pos": 17}),),
    dso_debug=DsoDebug(
        1, 0x7F00, 0x3DD0, b"dynamic!", (LinkMapEntry(0x400000, "/bin/test", 0x3DD0),)
    ),
    token={"uids": [0, 0, 0, 0]},
    record={"heartbeats": [{"name": "main"}]},
)


@pytest.fixture(scope="module")
def dump():
    data = write(SNAPSHOT, TYPES)
    count, directory = struct.unpack_from("<II", data, 8)
    entries = [struct.unpack_from("<III", data, directory + 12 * i) for i in range(count)]
    return data, {kind: (size, rva) for kind, size, rva in entries}


def string_at(data, rva):
    (size,) = struct.unpack_from("<I", data, rva)
    assert data[rva + 4 + size : rva + 6 + size] == b"\0\0"
    return data[rva + 4 : rva + 4 + size].decode("utf-16-le")


def test_header(dump):
    data, streams = dump
    magic, version, count, directory, checksum, stamp, flags = struct.unpack_from("<4sIIIIIQ", data)
    assert (magic, version & 0xFFFF, checksum) == (b"MDMP", 0xA793, 0)
    assert (count, directory, stamp, flags) == (len(streams), 32, 1795262643, int(TYPES))


def test_system_info(dump):
    data, streams = dump
    size, rva = streams[7]
    assert size == 56
    architecture, _, _, processors, _, major, minor, build, platform, csd = struct.unpack_from(
        "<HHHBBIIIII", data, rva
    )
    assert (architecture, processors, platform) == (9, 2, 0x8201)
    assert (major, minor, build) == (6, 18, 44)
    assert string_at(data, csd) == "Linux test"
    assert data[rva + 32 : rva + 44] == b"GenuineIntel"


def test_misc_info(dump):
    data, streams = dump
    size, rva = streams[15]
    assert size == 24
    assert struct.unpack_from("<6I", data, rva) == (24, 3, 4711, 1795262000, 3, 1)


def test_thread_list_and_context(dump):
    data, streams = dump
    size, rva = streams[3]
    assert (size, struct.unpack_from("<I", data, rva)) == (4 + 2 * 48, (2,))
    tid, _, _, priority, teb, _, _, _, context_size, context = struct.unpack_from(
        "<IIIIQQIIII", data, rva + 4
    )
    assert (tid, priority, teb, context_size) == (4711, 20, NAMES.index("fs_base"), 1232)
    assert context % 16 == 0
    assert struct.unpack_from("<I", data, context + 0x30) == (0x10000F,)
    for offset, name in ((0x78, "rax"), (0x80, "rcx"), (0x90, "rbx"), (0xA0, "rbp"), (0xF0, "r15")):
        assert struct.unpack_from("<Q", data, context + offset) == (NAMES.index(name),)
    assert struct.unpack_from("<Q", data, context + 0xF8) == (0x401136,)
    assert data[context + 0x100 : context + 0x300] == bytes(range(256)) * 2
    assert struct.unpack_from("<I", data, rva + 4 + 48 + 40) == (0,)  # the other has no context


def test_thread_info_list(dump):
    data, streams = dump
    size, rva = streams[17]
    assert size == 12 + 2 * 64
    assert struct.unpack_from("<III", data, rva) == (12, 64, 2)
    assert struct.unpack_from("<IIIIQQQQQQ", data, rva + 12) == (
        4711, 0, 0, 0x103, 5, 0, 10, 30, 0x401000, 3,
    )  # fmt: skip
    assert struct.unpack_from("<II", data, rva + 76) == (4712, 0x10)


def test_thread_names(dump):
    data, streams = dump
    _, rva = streams[24]
    assert struct.unpack_from("<I", data, rva) == (2,)
    tid, name = struct.unpack_from("<IQ", data, rva + 4 + 12)
    assert (tid, string_at(data, name)) == (4712, "wörker")


def test_module_list(dump):
    data, streams = dump
    size, rva = streams[4]
    assert size == 4 + 108
    base, image, checksum, stamp, name = struct.unpack_from("<QIIII", data, rva + 4)
    assert (base, image, checksum, stamp) == (0x400000, 0x5000, 0, 0)
    assert string_at(data, name) == "/bin/test"
    assert struct.unpack_from("<III", data, rva + 4 + 24) == (0xFEEF04BD, 0x10000, 1 << 16 | 2)
    cv_size, cv = struct.unpack_from("<II", data, rva + 4 + 76)
    assert data[cv : cv + cv_size] == b"LEpB" + bytes.fromhex("aabbccdd")


def test_exception(dump):
    data, streams = dump
    size, rva = streams[6]
    assert size == 168
    assert struct.unpack_from("<IIIIQQII", data, rva) == (4711, 0, 11, 1, 0, 0xDEAD, 0, 0)
    context_size, context = struct.unpack_from("<II", data, rva + 160)
    assert context_size == 1232
    assert struct.unpack_from("<Q", data, context + 0xF8) == (0x401136,)


def test_memory64_list(dump):
    data, streams = dump
    size, rva = streams[9]
    assert size == 16 + 16
    count, base, address, length = struct.unpack_from("<QQQQ", data, rva)
    assert (count, address, length) == (1, 0x7000, 4096)
    assert data[base : base + 4096] == bytes(range(256)) * 16
    assert base + 4096 == len(data)


def test_memory_list():
    data = write(SNAPSHOT, MinidumpType.NORMAL)
    count, directory = struct.unpack_from("<II", data, 8)
    streams = {
        kind: (size, rva)
        for kind, size, rva in struct.iter_unpack("<III", data[directory : directory + 12 * count])
    }
    size, rva = streams[5]
    assert size == 4 + 16
    one, address, length, at = struct.unpack_from("<IQII", data, rva)
    assert (one, address, length) == (1, 0x7000, 4096)
    assert data[at : at + 4096] == bytes(range(256)) * 16
    thread = streams[3][1] + 4
    assert struct.unpack_from("<QII", data, thread + 24) == (0x7000, 4096, at)  # its stack


def test_memory_info_list(dump):
    data, streams = dump
    size, rva = streams[16]
    assert size == 16 + 48
    assert struct.unpack_from("<IIQ", data, rva) == (16, 48, 1)
    assert struct.unpack_from("<QQIIQIIII", data, rva + 16) == (
        0x7000, 0x7000, 4, 0, 0x1000, 0x1000, 4, 0x20000, 0,
    )  # fmt: skip


def test_handle_data(dump):
    data, streams = dump
    size, rva = streams[12]
    assert size == 16 + 40
    assert struct.unpack_from("<IIII", data, rva) == (16, 40, 1, 0)
    number, kind, name, attributes, access, handles, _, info, _ = struct.unpack_from(
        "<QIIIIIIII", data, rva + 16
    )
    assert (number, attributes, access, handles, info) == (3, 0, 2, 1, 0)
    assert (string_at(data, kind), string_at(data, name)) == ("file", "/tmp/ä")
    size, rva = streams[0x504D0003]
    assert json.loads(data[rva : rva + size]) == {"3": {"pos": 17}}


def test_token(dump):
    data, streams = dump
    size, rva = streams[19]
    list_size, count, header_size, element_size = struct.unpack_from("<IIII", data, rva)
    assert (list_size, count, header_size, element_size) == (size, 1, 16, 16)
    token_size, pid, _ = struct.unpack_from("<IIQ", data, rva + 16)
    assert (token_size, pid) == (size - 16, 4711)
    assert json.loads(data[rva + 32 : rva + size]) == {"uids": [0, 0, 0, 0]}


def test_dso_debug(dump):
    data, streams = dump
    size, rva = streams[0x4767000A]
    assert size == 36 + len(b"dynamic!")
    version, maps, count, brk, loader, dynamic = struct.unpack_from("<IIIQQQ", data, rva)
    assert (version, count, brk, loader, dynamic) == (1, 1, 0, 0x7F00, 0x3DD0)
    base, name, dynamic = struct.unpack_from("<QIQ", data, maps)
    assert (base, string_at(data, name), dynamic) == (0x400000, "/bin/test", 0x3DD0)


def test_our_own_streams(dump):
    data, streams = dump
    size, rva = streams[0x504D0001]
    assert json.loads(data[rva : rva + size]) == {"heartbeats": [{"name": "main"}]}
    _, rva = streams[0x504D0002]
    count, tid, length, at = struct.unpack_from("<IIII", data, rva)
    assert (count, tid) == (1, 4711)
    assert data[at : at + length] == b"\xa5" * 832
    size, rva = streams[0x4D7A0004]
    assert json.loads(data[rva : rva + size]) == ["thread 4712 did not stop"]
