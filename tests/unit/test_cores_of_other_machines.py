"""Cores of machines whose stacks are not walked: what is said of them, and what hostile ones do."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.elfcore.reader import is_core, read_core
from perimortem.errors import MalformedInput
from perimortem.examine.options import ExamineOptions
from perimortem.examine.snapshot import examine_snapshot
from perimortem.model.snapshot import Architecture
from perimortem.symbols.files import ImageLibrary

I386, MIPS, PPC64, S390X, ARM, RISCV = 3, 8, 21, 22, 40, 243
SEGV, BUS = 11, 7
FILE, SIGINFO = 0x46494C45, 0x53494749


class Core:
    """Two threads; the first one got ``signal``."""

    def __init__(self, machine, word, order, *, signal=SEGV, info=True, uid=4):
        self.word, self.order = word, order
        self.kind = "I" if word == 4 else "Q"
        notes = b"".join(self.status(tid, signal) for tid in (42, 43))
        if info:
            codes = (signal, 1, 0) if machine == MIPS else (signal, 0, 1)
            head = self.pack("Iii", *codes) + bytes(4 if word == 8 else 0)
            notes += self.note(SIGINFO, (head + self.pack("W", 0x10)).ljust(128, b"\0"))
        notes += self.note(3, self.process(uid))
        row = self.pack("WWW", 0x10000, 0x14000, 0)
        notes += self.note(FILE, self.pack("WW", 1, 4096) + row + b"/bin/server\0")
        header_size, entry = (52, 32) if word == 4 else (64, 56)
        at = header_size + entry
        if word == 4:
            segment = self.pack("8I", 4, at, 0, 0, len(notes), 0, 4, 4)
        else:
            segment = self.pack("II6Q", 4, 4, at, 0, 0, len(notes), 0, 4)
        ident = b"\x7fELF" + bytes([word // 4, 1 if order == "<" else 2, 1]) + bytes(9)
        head = self.pack("HHI", 4, machine, 1) + self.pack("WWW", 0, header_size, 0)
        head += self.pack("IHHHHHH", 0, header_size, entry, 1, 0, 0, 0)
        self.data = ident + head + segment + notes

    def pack(self, kinds, *values):
        return struct.pack(self.order + kinds.replace("W", self.kind), *values)

    def note(self, kind, content):
        return self.pack("III", 5, len(content), kind) + b"CORE\0\0\0\0" + content

    def status(self, tid, signal):
        raw = bytearray(336)
        struct.pack_into(self.order + "H", raw, 12, signal)
        struct.pack_into(self.order + "I", raw, 16 + 2 * self.word, tid)
        struct.pack_into(f"{self.order}I", raw, 72 + 4 * 12, 0x10123)  # eip of i386
        return self.note(1, bytes(raw))

    def process(self, uid):
        size, pid_at, name_at = (136, 24, 40) if self.word == 8 else (120 + 2 * uid, 8 + 2 * uid, 0)
        name_at = name_at or pid_at + 16
        raw = bytearray(size)
        struct.pack_into(self.order + "I", raw, pid_at, 42)
        raw[name_at : name_at + 6] = b"server"
        return bytes(raw)

    def read(self):
        return read_core(lambda at, size: self.data[at : at + size], len(self.data))


MACHINES = [
    (ARM, 4, "<", Architecture.ARM),
    (MIPS, 4, "<", Architecture.MIPS),
    (MIPS, 8, ">", Architecture.MIPS64),
    (PPC64, 8, ">", Architecture.PPC64),
    (S390X, 8, ">", Architecture.S390X),
    (RISCV, 8, "<", Architecture.RISCV64),
    (RISCV, 4, "<", Architecture.RISCV),
    (9999, 8, "<", Architecture.UNKNOWN),
]


@pytest.mark.parametrize(("machine", "word", "order", "architecture"), MACHINES)
def test_reason_threads_and_files(machine, word, order, architecture):
    core = Core(machine, word, order)
    assert is_core(core.data[:18])
    snapshot = core.read()
    assert snapshot.system.architecture is architecture
    assert [thread.tid for thread in snapshot.threads] == [42, 43]
    assert (snapshot.pid, snapshot.threads[0].name) == (42, "server")
    assert [(m.base, m.size, m.path) for m in snapshot.modules] == [
        (0x10000, 0x4000, "/bin/server")
    ]
    found = examine_snapshot(snapshot, ExamineOptions(ImageLibrary(), with_lines=False))
    if architecture is Architecture.ARM:  # the one whose stacks are walked
        assert found.reason.text == "access to 0x10: null pointer plus offset"
        return
    assert found.reason.text == "SIGSEGV (SEGV_MAPERR) at 0x10"
    assert f"stacks of {architecture} programs are not supported" in found.stacks[0].end


@pytest.mark.parametrize("uid", [2, 4])
def test_user_ids_of_16_and_of_32_bits(uid):
    snapshot = Core(ARM, 4, "<", uid=uid).read()
    assert (snapshot.pid, snapshot.threads[0].name) == (42, "server")


def test_signals_have_other_numbers_on_mips():
    assert Core(MIPS, 4, "<", signal=10).read().exception.code == BUS
    assert Core(ARM, 4, "<", signal=10).read().exception.code == 10
    assert Core(MIPS, 4, "<", signal=7).read().exception is None  # SIGEMT, which others lack


def test_a_core_without_siginfo_does_not_say_who_raised_it():
    exception = Core(ARM, 4, "<", info=False).read().exception
    assert (exception.code, exception.has_flags) == (SEGV, False)


def test_the_registers_of_i386():
    thread = Core(I386, 4, "<").read().threads[0]
    assert thread.registers.general["eip"] == 0x10123


@given(st.sampled_from(MACHINES), st.data())
def test_a_damaged_one_is_one_error(machine, data):
    core = Core(*machine[:3])
    raw = bytearray(core.data)
    for _ in range(data.draw(st.integers(1, 8))):
        raw[data.draw(st.integers(0, min(len(raw), 400) - 1))] = data.draw(st.integers(0, 255))
    core.data = bytes(raw[: data.draw(st.integers(18, len(raw)))])
    try:
        snapshot = core.read()
    except MalformedInput:
        return
    examine_snapshot(snapshot, ExamineOptions(ImageLibrary(), with_lines=False))
