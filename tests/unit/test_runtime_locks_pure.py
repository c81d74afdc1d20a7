"""What HotSpot and Rust show of locks, from memory that was made up: right, and hostile."""

from __future__ import annotations

import struct

import pytest
from hypothesis import given
from hypothesis import strategies as st

from perimortem.analysis.hotspot import read_hotspot
from perimortem.analysis.java_locks import JavaLock, find_java_locks
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
    hotspot = read_hotspot(memory.read, memory.variables.get)
    return find_java_monitors(hotspot) if hotspot is not None else {}


def test_two_threads_that_wait_for_each_other_and_one_that_does_not():
    memory, monitors = build([1, 0, None], [(0, False), (1, False)])
    assert find(memory) == {100: JavaMonitor(monitors[1], 101), 101: JavaMonitor(monitors[0], 100)}


def test_an_owner_that_is_an_address_on_its_stack():
    memory, monitors = build([None, 0], [(0, True)])
    assert find(memory) == {101: JavaMonitor(monitors[0], 100)}


def test_a_library_that_does_not_describe_itself():
    memory, _ = build([1, 0], [(0, False), (1, False)])
    assert read_hotspot(memory.read, {}.get) is None


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


HEAP_FIELDS = {
    **{key: at for key, at in FIELDS.items() if "onitor" not in "".join(key)},
    ("JavaThread", "_threadObj"): 40,
    ("Klass", "_name"): 0,
    ("Klass", "_super"): 8,
    ("InstanceKlass", "_constants"): 16,
    ("InstanceKlass", "_fields"): 24,
    ("InstanceKlass", "_java_fields_count"): 32,
    ("Array<u2>", "_data"): 4,
    ("Symbol", "_length"): 0,
    ("Symbol", "_body"): 2,
    ("oopDesc", "_metadata._klass"): 8,
    ("oopDesc", "_metadata._compressed_klass"): 8,
    ("CompressedOops", "_narrow_oop._base"): "zero",
    ("CompressedOops", "_narrow_oop._shift"): "shift",
    ("CompressedKlassPointers", "_narrow_klass._base"): "zero",
    ("CompressedKlassPointers", "_narrow_klass._shift"): "shift",
    ("JVMFlag", "flags"): "flags",
    ("JVMFlag", "numFlags"): "flag count",
    ("JVMFlag", "_name"): 0,
    ("JVMFlag", "_addr"): 8,
}
CONSTANTS = {
    "FieldInfo::field_slots": 6, "FieldInfo::name_index_offset": 1, "FIELDINFO_TAG_SIZE": 2,
    "FieldInfo::low_packed_offset": 4, "FieldInfo::high_packed_offset": 5,
}  # fmt: skip
SIZES = {"ConstantPool": 24, "JVMFlag": 16}
SHIFT = 3
NAMES = ("java/lang/Thread", "java/util/concurrent/locks/AbstractOwnableSynchronizer")


class Heap:
    """A machine with two threads, the first of which waits for a lock that the second one owns."""

    def __init__(self, *, is_compressed, fields=None, constants=None, sizes=None):
        self.memory, self.is_compressed = Memory(), is_compressed
        add = self.memory.add
        threads = [add(bytes(64)) for _ in range(2)]
        thread = self.add_class("java/lang/Thread", 0, {"parkBlocker": 16, "eetop": 24})
        ownable = self.add_class(NAMES[1], 0, {"exclusiveOwnerThread": 16})
        fair = self.add_class("java/util/concurrent/locks/ReentrantLock$FairSync", ownable, {})
        objects = [self.add_object(thread) for _ in threads]
        self.lock = self.add_object(fair)
        for number, address in enumerate(threads):
            self.memory.word(address + 8, add(struct.pack("<Q", 100 + number)))
            self.memory.word(address + 40, add(struct.pack("<Q", objects[number])))
            self.memory.word(objects[number] + 24, address)
        self.refer(objects[0] + 16, self.lock)
        self.refer(self.lock + 16, objects[1])
        listed = add(bytes(32))
        struct.pack_into("<I", self.memory.bytes, listed + 4, 2)
        self.memory.word(listed + 16, add(struct.pack("<2Q", *threads)))
        flag = add(bytes([is_compressed]))
        names = [self.text(n) for n in ("Other", "UseCompressedOops", "UseCompressedClassPointers")]
        statics = {
            "static": listed, "zero": 0, "shift": SHIFT, "flag count": 3,
            "flags": add(b"".join(struct.pack("<2Q", name, flag) for name in names)),
        }  # fmt: skip
        statics = {name: add(struct.pack("<Q", value)) for name, value in statics.items()}
        rows = [
            (
                self.text(kind),
                self.text(name),
                0 if value in statics else value,
                statics.get(value, 0),
            )
            for (kind, name), value in (HEAP_FIELDS if fields is None else fields).items()
        ]
        self.export("Struct", rows, "TypeName", "FieldName", "Offset", "Address")
        for table, column, chosen in (
            ("IntConstant", "Name", CONSTANTS if constants is None else constants),
            ("Type", "TypeName", SIZES if sizes is None else sizes),
        ):
            rows = [(self.text(name), value) for name, value in chosen.items()]
            self.export(table, rows, column, "Value" if table == "IntConstant" else "Size")

    def export(self, table, rows, *columns):
        raw = b"".join(struct.pack(f"<{len(columns)}Q", *row) for row in rows)
        width = 8 * len(columns)
        self.memory.export(f"gHotSpotVM{table}s", self.memory.add(raw + bytes(width)))
        self.memory.export(f"gHotSpotVM{table}EntryArrayStride", width)
        for number, column in enumerate(columns):
            self.memory.export(f"gHotSpotVM{table}Entry{column}Offset", 8 * number)

    def text(self, text):
        return self.memory.add(text.encode() + b"\0")

    def symbol(self, text):
        return self.memory.add(struct.pack("<H", len(text)) + text.encode())

    def add_class(self, name, parent, fields):
        pool = self.memory.add(
            bytes(24) + struct.pack("<2Q", *map(self.symbol, [*fields, "", ""][:2]))
        )
        raw = bytes(4)
        for index, offset in enumerate(fields.values()):
            raw += struct.pack("<6H", 0, index, 0, 0, offset << 2 | 1, 0)
        words = (self.symbol(name), parent, pool, self.memory.add(raw), len(fields))
        return self.memory.add(struct.pack("<5Q", *words))

    def add_object(self, kind):
        address = self.memory.add(bytes(32))
        if self.is_compressed:
            struct.pack_into("<I", self.memory.bytes, address + 8, kind >> SHIFT)
        else:
            self.memory.word(address + 8, kind)
        return address

    def refer(self, place, address):
        if self.is_compressed:
            struct.pack_into("<I", self.memory.bytes, place, address >> SHIFT)
        else:
            self.memory.word(place, address)

    def find(self):
        hotspot = read_hotspot(self.memory.read, self.memory.variables.get)
        return find_java_locks(hotspot) if hotspot is not None else {}


@pytest.mark.parametrize("is_compressed", [True, False])
def test_a_lock_of_java_names_its_owner(is_compressed):
    heap = Heap(is_compressed=is_compressed)
    assert heap.find() == {100: JavaLock("ReentrantLock", heap.lock, 101)}


@pytest.mark.parametrize("missing", HEAP_FIELDS)
def test_a_field_of_the_heap_that_is_not_described(missing):
    """Of the two forms of a class pointer a machine needs one."""
    fields = {key: value for key, value in HEAP_FIELDS.items() if key != missing}
    is_unused = missing == ("oopDesc", "_metadata._klass")
    assert bool(Heap(is_compressed=True, fields=fields).find()) is is_unused


@pytest.mark.parametrize("missing", CONSTANTS)
def test_a_constant_that_is_not_described(missing):
    """As from JDK 21 on."""
    constants = {key: value for key, value in CONSTANTS.items() if key != missing}
    assert Heap(is_compressed=True, constants=constants).find() == {}


@pytest.mark.parametrize("slots", [0, 65, 0xFFFFFFFF])
def test_a_number_of_slots_that_cannot_be(slots):
    constants = CONSTANTS | {"FieldInfo::field_slots": slots}
    assert Heap(is_compressed=True, constants=constants).find() == {}


@given(st.dictionaries(st.integers(0, 0x1FFF), st.integers(0, (1 << 64) - 1), max_size=40))
def test_any_heap_is_read_without_harm(chosen):
    heap = Heap(is_compressed=True)
    for at, value in chosen.items():
        heap.memory.word(at * 8, value)
    for tid, lock in heap.find().items():
        assert tid != lock.owner_tid or lock.name


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
