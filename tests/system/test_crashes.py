"""The crash handler in real programs: every signal from every place gives one report, and one dump."""

from __future__ import annotations

import re
import shutil
import signal
import struct
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile

pytestmark = pytest.mark.system

HARDWARE = (signal.SIGSEGV, signal.SIGBUS, signal.SIGILL, signal.SIGFPE, signal.SIGTRAP)
SIGNALS = (*HARDWARE, signal.SIGABRT, signal.SIGSYS)
RSP_OFFSET, RIP_OFFSET = 0x98, 0xF8
"""In CONTEXT of x86-64 (winnt.h)."""
PYTHON_FAULT = """
import ctypes, sys
library = ctypes.PyDLL(sys.argv[1])  # calls hold the GIL
library.prepare_fault(int(sys.argv[2]))
library.fault(int(sys.argv[2]))
"""


@dataclass
class Dump:
    """What a dump says of the crash."""

    code: int
    address: int
    tid: int
    first_tid: int
    rip: int
    rsp: int
    thread_count: int
    read: object


def read_dump(path):
    data = Path(path).read_bytes()
    dump = MinidumpFile(lambda offset, size: data[offset : offset + size], len(data))
    threads = dump.read_threads(dump.find(StreamType.ThreadListStream))
    exception = dump.read_exception(dump.find(StreamType.ExceptionStream))
    raw = exception.raw
    rsp, rip = (
        struct.unpack_from("<Q", data, exception.context.rva + offset)[0]
        for offset in (RSP_OFFSET, RIP_OFFSET)
    )
    return Dump(
        raw.code, raw.address, raw.thread_id, threads[0].thread_id,
        rip, rsp, len(threads), dump,
    )  # fmt: skip


def run_fault(perimortem, programs, number, way):
    """(report, tid, address of fault(), address of the mapping)"""
    output = perimortem.base / "output"
    if way == "gil":
        argv = [sys.executable, "-c", PYTHON_FAULT, programs / "libfault.so", int(number)]
    else:
        argv = [programs / "crash_matrix", int(number), way]
    command = 'out=$1; shift; exec "$@" >"$out"'
    report = perimortem.report("sh", "-c", command, "sh", output, *argv)
    tid, fault, mapping = output.read_text().split()
    return report, int(tid), int(fault, 16), int(mapping, 16) if mapping != "(nil)" else 0


@pytest.mark.parametrize("way", ["main", "thread", "malloc", "handler", "gil"])
@pytest.mark.parametrize("number", SIGNALS, ids=lambda n: n.name)
def test_every_signal_from_every_place(perimortem, programs, number, way):
    report, tid, fault, mapping = run_fault(perimortem, programs, number, way)
    assert report["verdict"] == "crash", report
    assert report["exit"]["signal"] == number
    assert (report["crash"]["name"], report["crash"]["tid"]) == (number.name, tid)
    (taken,) = report["dumps"]
    dump = read_dump(taken["path"])
    assert (dump.code, dump.tid, dump.first_tid) == (number, tid, tid)
    if number is not signal.SIGABRT:  # that one stands in the C library
        assert fault <= dump.rip < fault + 200
    address = {signal.SIGSEGV: 16, signal.SIGBUS: mapping}.get(number)
    if address is not None:
        assert dump.address == address
        assert f"{number.name} at {address:#x} in " in report["where"]["text"]


@pytest.mark.parametrize("way", ["overflow", "thread_overflow"])
def test_a_stack_overflow_with_the_frames_above_it(perimortem, programs, way):
    report, tid, _, _ = run_fault(perimortem, programs, signal.SIGSEGV, way)
    assert (report["verdict"], report["exit"]["signal"]) == ("crash", signal.SIGSEGV)
    assert report["crash"]["tid"] == tid
    dump = read_dump(report["dumps"][0]["path"])
    assert abs(dump.address - dump.rsp) < 1 << 16
    stack = next(
        thread.stack
        for thread in dump.read.read_threads(dump.read.find(StreamType.ThreadListStream))
        if thread.thread_id == tid
    )
    assert stack.data_size > 4096


@pytest.mark.skipif(not shutil.which("lldb"), reason="lldb is not installed")
@pytest.mark.parametrize("number", [signal.SIGSEGV, signal.SIGABRT], ids=lambda n: n.name)
def test_lldb_shows_the_frame_that_faulted(perimortem, programs, number):
    report, *_ = run_fault(perimortem, programs, number, "thread")
    shown = subprocess.run(
        ["lldb", "-b", "-x", "-o", f"target create --core {report['dumps'][0]['path']}", "-o", "bt"],
        capture_output=True, text=True, timeout=100, stdin=subprocess.DEVNULL,
    ).stdout  # fmt: skip
    assert f"stop reason = signal {number.name}" in shown
    frame = re.search(r"frame #\d+: 0x[0-9a-f]+ \S+`fault", shown)
    assert frame, shown
    if number is signal.SIGSEGV:
        assert "frame #0: 0x" in shown[: frame.end()]
        assert shown.count("frame #", 0, frame.end()) == 1
