"""What HotSpot and Rust show of locks, from memory that was made up: right, and hostile."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.analysis.java_monitors import JavaMonitor, find_java_monitors
from perimortem.analysis.rust_locks import LOCK_FUNCTION, name_lock

PREFIX = "gHotSpotVMStructEntry"


class Memory:
    """Words and strings at addresses of our choice."""

    def __init__(self):
        self.bytes = bytearray(1 << 16)
        self.next = 0x100
        self.variables = {}

    def word(self, address, value):
        struct.pack_into("<Q", self.bytes, address, value)

    def add(self, data):
        at = self.next
        self.bytes[at : at + len(data)] = data
        self.next = (at + len(data) + 15) & ~7
        return at

    def export(self, name, value):
        self.variables[name] = self.add(struct.pack("<Q", value))

    def read(self, address, size):
        return bytes(self.bytes[address : address + size])


FIELDS = {
    ("ThreadsSMRSupport", "_java_thread_list"): "static",
    ("ThreadsList", "_length"): 4,
    ("ThreadsList", "_threads"): 16,
    ("Thread", "_osthread"): 8,
    ("OSThread", "_thread_id"): 0,
    ("JavaThread", "_current_pending_monitor"): 16,
    ("ObjectMonitor", "_owner"): 8,
    ("JavaThread", "_stack_base"): 24,
    ("JavaThread", "_stack_size"): 32,
}


def build(pending, owners, fields=FIELDS, stride=48):
    """``pending``: of each thread the number of a monitor or None; ``owners``: of each monitor the
    thread that owns it, with a word of its stack if that is what HotSpot has written."""
    memory = Memory()
    threads = [memory.add(bytes(64)) for _ in pending]
    monitors = [memory.add(bytes(32)) for _ in owners]
    for number, thread in enumerate(threads):
        memory.word(thread + 8, memory.add(struct.pack("<Q", 100 + number)))
        memory.word(thread + 24, 0x90000 + 0x1000 * (number + 1))
        memory.word(thread + 32, 0x1000)
        if pending[number] is not None:
            memory.word(thread + 16, monitors[pending[number]])
    for number, (owner, by_stack) in enumerate(owners):
        memory.word(
            monitors[number] + 8, 0x90000 + 0x1000 * owner + 8 if by_stack else threads[owner]
        )
    table = memory.add(struct.pack(f"<{len(threads)}Q", *threads))
    listed = memory.add(bytes(32))
    struct.pack_into("<I", memory.bytes, listed + 4, len(threads))
    memory.word(listed + 16, table)
    static = memory.add(struct.pack("<Q", listed))
    entries = bytearray()
    for (kind, name), offset in fields.items():
        is_static = offset == "static"
        strings = [memory.add(text.encode() + b"\0") for text in (kind, name)]
        entry = [*strings, 0, is_static, 0 if is_static else offset, static if is_static else 0]
        entries += struct.pack("<6Q", *entry)
    memory.export("gHotSpotVMStructs", memory.add(bytes(entries) + bytes(48)))
    for name, offset in {
        "TypeNameOffset": 0, "FieldNameOffset": 8, "OffsetOffset": 32, "AddressOffset": 40,
        "ArrayStride": stride,
    }.items():  # fmt: skip
        memory.export(PREFIX + name, offset)
    return memory, monitors


def find(memory):
    return find_java_monitors(memory.read, memory.variables.get)


def test_two_threads_that_wait_for_each_other_and_one_that_does_not():
    memory, monitors = build([1, 0, None], [(0, False), (1, False)])
    assert find(memory) == {100: JavaMonitor(monitors[1], 101), 101: JavaMonitor(monitors[0], 100)}


def test_an_owner_that_is_an_address_on_its_stack():
    memory, monitors = build([None, 0], [(0, True)])
    assert find(memory) == {101: JavaMonitor(monitors[0], 100)}


def test_a_library_that_does_not_describe_itself():
    memory, _ = build([1, 0], [(0, False), (1, False)])
    assert find_java_monitors(memory.read, {}.get) == {}


@pytest.mark.parametrize("missing", FIELDS)
def test_a_field_that_is_not_there(missing):
    fields = {key: value for key, value in FIELDS.items() if key != missing}
    memory, _ = build([1, 0], [(0, False), (1, False)], fields)
    assert find(memory) == {}


@pytest.mark.parametrize("stride", [0, 1, 40, 1 << 40])
def test_a_stride_that_cannot_be(stride):
    memory, _ = build([1, 0], [(0, False), (1, False)], stride=stride)
    assert find(memory) == {}


@given(st.dictionaries(st.integers(0, 0x1FFF), st.integers(0, (1 << 64) - 1), max_size=40))
def test_any_memory_is_read_without_harm(chosen):
    memory, _ = build([1, 0], [(0, False), (1, False)])
    for at, value in chosen.items():
        memory.word(at * 8, value)
    for thread, monitor in find(memory).items():
        assert isinstance(thread, int)
        assert isinstance(monitor, JavaMonitor)


@pytest.mark.parametrize(
    ("function", "kind"),
    [
        (b"_ZN3std3sys4sync5mutex5futex5Mutex14lock_contended17h0123456789abcdefE", "Rust mutex"),
        (b"_RNvMNtNtNtNtCs9_3std3sys4sync5mutex5futexNtB2_5Mutex14lock_contended", "Rust mutex"),
        (b"_RNvMNtNtNtNtCs9_3std3sys4sync6rwlock5futexNtB2_6RwLock15write_contended",
         "Rust read-write lock"),
        (b"_ZN11parking_lot9raw_mutex8RawMutex9lock_slow17hE", "mutex of parking_lot"),
        (b"_RNvMNtNtNtNtCs9_3std3sys4sync7condvar5futexNtB2_7Condvar4wait", None),
        (b"_ZN3std6thread4park17hE", None),
        (b"pthread_mutex_lock", None),
    ],
)  # fmt: skip
def test_functions_of_rust_that_wait_for_a_lock(function, kind):
    assert name_lock(function) == kind
    assert (LOCK_FUNCTION.search(function) is not None) == (kind is not None)
