"""Goroutines from memory that was made up: right, and hostile."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.analysis.goroutines import Goroutine, GoRuntime, list_goroutines

GOROUTINE = {
    "sched": 0, "atomicstatus": 40, "goid": 48, "waitreason": 56, "trackingSeq": 57,
    "waitsince": 64, "startpc": 72,
}  # fmt: skip
REGISTERS = {"sp": 0, "pc": 8, "bp": 16}
REASONS = ("", "chan receive", "sync.Mutex.Lock")
FUNCTIONS = {0x100: "runtime.gopark", 0x200: "sync.(*Mutex).Lock", 0x300: "main.work",
             0x400: "runtime.main", 0x500: "runtime.bgsweep"}  # fmt: skip
WAITING, RUNNING, SCANNED = 4, 2, 0x1004


class Memory:
    def __init__(self):
        self.bytes = bytearray(0x4000)
        self.next = 0x40

    def add(self, data):
        at = self.next
        self.bytes[at : at + len(data)] = data
        self.next = (at + len(data) + 15) & ~7
        return at

    def read(self, address, size):
        return bytes(self.bytes[address : address + size])


def name_function(address):
    return FUNCTIONS.get(address & ~0xFF)


def build(*goroutines):
    """Of each: number, status, reason, where it began, its callers."""
    memory = Memory()
    reasons = [(memory.add(text.encode()), len(text)) for text in REASONS]
    first = memory.add(b"".join(struct.pack("<2Q", *reason) for reason in reasons))
    addresses = []
    for number, status, reason, start, callers in goroutines:
        frames = memory.next
        for index, caller in enumerate(callers):
            is_last = index == len(callers) - 1
            frame = memory.next + 24 if not is_last else 0
            memory.add(struct.pack("<2Q", frame, caller + 1))
        raw = struct.pack(
            "<5QI4xQBB6xQQ",
            0x7000 + number,
            0x100,
            frames,
            0,
            0,
            status,
            number,
            reason,
            5,
            0,
            start,
        )
        addresses.append(memory.add(raw))
    listed = memory.add(struct.pack(f"<{len(addresses)}Q", *addresses))
    slices = memory.add(struct.pack("<3Q", listed, len(addresses), len(addresses)))
    runtime = GoRuntime(slices, range(first, first + 16 * len(REASONS)), GOROUTINE, REGISTERS)
    return memory, runtime


def test_where_a_goroutine_waits_is_the_function_that_called_the_library():
    memory, runtime = build(
        (1, WAITING, 1, 0x400, [0x100, 0x400]),
        (7, SCANNED, 2, 0x300, [0x100, 0x200, 0x300]),
        (8, RUNNING, 2, 0x300, [0x300]),
        (9, WAITING, 1, 0x500, [0x500]),
    )
    assert list_goroutines(memory.read, runtime, name_function) == [
        Goroutine(1, "chan receive", "", (1, 0x7001, 1, 5, 0)),
        Goroutine(7, "sync.Mutex.Lock", "main.work", (7, 0x7007, 2, 5, 0)),
    ]


@pytest.mark.parametrize("missing", GOROUTINE)
def test_a_runtime_that_does_not_describe_a_field(missing):
    memory, runtime = build((7, WAITING, 2, 0x300, [0x300]))
    fields = {name: at for name, at in GOROUTINE.items() if name != missing}
    runtime = GoRuntime(runtime.all_goroutines, runtime.reasons, fields, REGISTERS)
    with pytest.raises(KeyError):
        list_goroutines(memory.read, runtime, name_function)


def test_a_process_that_has_just_ended_has_none():
    _, runtime = build((7, WAITING, 2, 0x300, [0x300]))
    assert list_goroutines(lambda _address, _size: b"", runtime, name_function) == []


def test_a_table_of_reasons_whose_size_is_a_lie():
    memory, runtime = build((7, WAITING, 2, 0x300, [0x300]))
    reasons = range(runtime.reasons.start, runtime.reasons.start + (1 << 64))
    runtime = GoRuntime(runtime.all_goroutines, reasons, GOROUTINE, REGISTERS)
    (found,) = list_goroutines(memory.read, runtime, name_function)
    assert found.reason == "sync.Mutex.Lock"


@pytest.mark.parametrize("offset", [-1, 1 << 20, 1 << 63])
def test_an_offset_that_cannot_be(offset):
    memory, runtime = build((7, WAITING, 2, 0x300, [0x300]))
    fields = GOROUTINE | {"waitreason": offset}
    runtime = GoRuntime(runtime.all_goroutines, runtime.reasons, fields, REGISTERS)
    with pytest.raises(KeyError):
        list_goroutines(memory.read, runtime, name_function)


def test_a_name_is_one_line_of_text():
    memory, runtime = build((7, WAITING, 2, 0x300, [0x300]))
    (found,) = list_goroutines(memory.read, runtime, lambda _address: "a\nDEADLOCK\x1b[1m" * 99)
    assert found.function.isprintable()
    assert len(found.function) <= 200


@given(st.dictionaries(st.integers(0, 0x7FF), st.integers(0, (1 << 64) - 1), max_size=40))
def test_any_memory_is_read_without_harm(chosen):
    memory, runtime = build((7, WAITING, 2, 0x300, [0x100, 0x200, 0x300]))
    for at, value in chosen.items():
        struct.pack_into("<Q", memory.bytes, at * 8, value)
    for goroutine in list_goroutines(memory.read, runtime, name_function):
        assert len(goroutine.reason) <= 64
