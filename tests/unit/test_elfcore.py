"""The notes of cores: whole ones are read, everything else is refused."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.elfcore.layout import NT_FPREGSET, NT_PRSTATUS, NT_SIGINFO
from perimortem.elfcore.notes import read_notes
from perimortem.errors import MalformedInput

RIP = 16
"""Its place among the registers of user_regs_struct."""


def make_note(kind, content):
    padded = content + bytes(-len(content) % 4)
    return struct.pack("<III", 5, len(content), kind) + b"CORE\0\0\0\0" + padded


def make_thread(tid, rip):
    registers = [0] * 27
    registers[RIP] = rip
    content = bytearray(336)
    struct.pack_into("<i", content, 32, tid)
    struct.pack_into("<27Q", content, 112, *registers)
    return make_note(NT_PRSTATUS, bytes(content))


def make_core(notes):
    header = bytearray(64)
    header[:7] = b"\x7fELF\x02\x01\x01"
    struct.pack_into("<HHIQQQIHHHHHH", header, 16, 4, 62, 1, 0, 64, 0, 0, 64, 56, 1, 0, 0, 0)
    segment = struct.pack("<IIQQQQQQ", 4, 0, 120, 0, 0, len(notes), 0, 4)
    return bytes(header) + segment + notes


def make_signal(number, code, *rest):
    return make_note(
        NT_SIGINFO, struct.pack("<iii", number, 0, code).ljust(16, b"\0") + b"".join(rest)
    )


def test_threads_come_in_the_kernels_order_with_their_registers():
    floating = bytes(range(256)) * 2
    core = make_core(
        make_thread(7, 0x1000)
        + make_signal(11, 1, struct.pack("<Q", 0x10), bytes(104))
        + make_note(NT_FPREGSET, floating)
        + make_thread(6, 0x2000)
    )
    notes = read_notes(core)
    assert [(t.tid, t.registers.general["rip"]) for t in notes.threads] == [
        (7, 0x1000),
        (6, 0x2000),
    ]
    assert notes.threads[0].registers.floating_point == floating
    assert (notes.signal.number, notes.signal.address, notes.signal.sender_pid) == (11, 0x10, None)


def test_a_signal_that_was_sent():
    core = make_core(
        make_thread(7, 1) + make_signal(6, -6, struct.pack("<iI", 42, 1000), bytes(104))
    )
    signal = read_notes(core).signal
    assert (signal.number, signal.sender_pid, signal.sender_uid) == (6, 42, 1000)


@given(st.binary(max_size=4096))
def test_noise_is_refused(data):
    with pytest.raises(MalformedInput):
        read_notes(data)


@given(st.binary(max_size=2000))
def test_noise_as_notes_is_refused_or_read(noise):
    try:
        assert read_notes(make_core(noise)).threads
    except MalformedInput:
        return


WHOLE_CORE = make_core(make_thread(7, 1))


@given(st.integers(0, len(WHOLE_CORE) - 1))
def test_a_cut_core_is_refused(size):
    with pytest.raises(MalformedInput):
        read_notes(WHOLE_CORE[:size])
