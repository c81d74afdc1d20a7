"""Which lock of ``java.util.concurrent.locks`` each thread waits for, and which thread owns it. Pure.

These are objects of the Java heap. A parked thread names what it waits for (Thread.parkBlocker), and a
lock that one thread owns names that thread (AbstractOwnableSynchronizer.exclusiveOwnerThread). A
collector may move an object while it is read: each is known by the name of its class, and the owner by
its thread.

Source: OpenJDK 17: instanceKlass.hpp, fieldInfo.hpp, oop.hpp, compressedOops.hpp, jvmFlag.hpp. Until
JDK 20 the fields of a class are in InstanceKlass::_fields; later ones keep them in another form, not
read here.
"""

from __future__ import annotations

import struct
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

from perimortem.analysis.hotspot import HotSpot

_OWNABLE = "java/util/concurrent/locks/AbstractOwnableSynchronizer"
_THREAD = "java/lang/Thread"
_SUPERS_MAX = 64
_FIELDS_MAX = 4096
_SLOTS_MAX = 64
_FLAGS_MAX = 10_000
_NAME_MAX = 256


@dataclass(frozen=True)
class JavaLock:
    """``name``: "ReentrantLock". ``address``: where it was; a collector may move it."""

    name: str
    address: int
    owner_tid: int


def find_java_locks(hotspot: HotSpot) -> dict[int, JavaLock]:
    """By the waiting thread's number (OSThread::_thread_id), as far as the owner is known."""
    try:
        heap = _Heap(hotspot)
        object_at = hotspot.of_thread("_threadObj")
        threads = {thread.address: thread.tid for thread in hotspot.list_threads()}
        found = {}
        for address, tid in threads.items():
            thread = hotspot.read_word(hotspot.read_word(address + object_at))
            blocker = heap.read_reference(thread, _THREAD, "parkBlocker")
            owner = heap.read_reference(blocker, _OWNABLE, "exclusiveOwnerThread")
            owner_tid = threads.get(heap.read_number(owner, _THREAD, "eetop"))
            if owner_tid is not None:
                name = heap.read_class_name(blocker).rpartition("/")[2].partition("$")[0]
                found[tid] = JavaLock(name, blocker, owner_tid)
    except KeyError:
        return {}
    return found


class _Heap:
    """Objects, and the fields of their classes. Raises KeyError for what HotSpot does not describe."""

    def __init__(self, hotspot: HotSpot) -> None:
        self._vm = hotspot
        self._offsets: dict[tuple[int, str, str], int | None] = {}

    def read_reference(self, address: int, owner: str, field: str) -> int:
        """The object that this field refers to; 0 if there is none, or if the class has no such field.

        ``owner``: the class that declares the field, or one that ``address`` is no instance of."""
        place = self._find_field(address, owner, field)
        if not place:
            return 0
        if not self._has_flag("UseCompressedOops"):
            return self._vm.read_word(place)
        return self._expand(self._vm.read_number(place), "CompressedOops", "_narrow_oop")

    def read_number(self, address: int, owner: str, field: str) -> int:
        """Likewise, of a field of the type long."""
        place = self._find_field(address, owner, field)
        return self._vm.read_word(place) if place else 0

    def read_class_name(self, address: int) -> str:
        return self._read_symbol(
            self._vm.read_word(self._read_class(address) + self._vm.fields["Klass", "_name"])
        )

    def _find_field(self, address: int, owner: str, field: str) -> int | None:
        if not address:
            return None
        kind = self._read_class(address)
        if (kind, owner, field) not in self._offsets:
            declared = self._find_super(kind, owner)
            fields = dict(self._list_fields(declared)) if declared else {}
            self._offsets[kind, owner, field] = fields.get(field)
        offset = self._offsets[kind, owner, field]
        return address + offset if offset else None

    def _find_super(self, kind: int, name: str) -> int:
        """The class itself, or the one above it, with this name; 0 if there is none."""
        fields = self._vm.fields
        for _ in range(_SUPERS_MAX):
            if not kind:
                break
            if self._read_symbol(self._vm.read_word(kind + fields["Klass", "_name"])) == name:
                return kind
            kind = self._vm.read_word(kind + fields["Klass", "_super"])
        return 0

    def _list_fields(self, kind: int) -> Iterator[tuple[str, int]]:
        """(name, offset in an object) of the fields that a class declares."""
        vm = self._vm
        constants = vm.constants
        slots = constants["FieldInfo::field_slots"]
        name_at = constants["FieldInfo::name_index_offset"]
        low_at = constants["FieldInfo::low_packed_offset"]
        high_at = constants["FieldInfo::high_packed_offset"]
        tag_bits = constants["FIELDINFO_TAG_SIZE"]
        pool = vm.read_word(kind + vm.fields["InstanceKlass", "_constants"])
        names = pool + vm.sizes["ConstantPool"]
        count = vm.read_number(kind + vm.fields["InstanceKlass", "_java_fields_count"], 2)
        first = vm.read_word(kind + vm.fields["InstanceKlass", "_fields"])
        if not 0 < slots <= _SLOTS_MAX:
            return
        size = 2 * slots * min(count, _FIELDS_MAX)
        raw = vm.read(first + vm.fields["Array<u2>", "_data"], size)
        if max(name_at, low_at, high_at) >= slots or len(raw) < size or tag_bits > 8:
            return
        for index in range(size // (2 * slots)):
            values = struct.unpack_from(f"<{slots}H", raw, index * 2 * slots)
            symbol = vm.read_word(names + 8 * values[name_at])
            yield (
                self._read_symbol(symbol),
                (values[high_at] << 16 | values[low_at]) >> tag_bits,
            )

    def _read_class(self, address: int) -> int:
        fields = self._vm.fields
        if not self._has_flag("UseCompressedClassPointers"):
            return self._vm.read_word(address + fields["oopDesc", "_metadata._klass"])
        narrow = self._vm.read_number(address + fields["oopDesc", "_metadata._compressed_klass"])
        return self._expand(narrow, "CompressedKlassPointers", "_narrow_klass")

    def _expand(self, narrow: int, kind: str, field: str) -> int:
        base = self._vm.read_word(self._vm.fields[kind, f"{field}._base"])
        shift = self._vm.read_number(self._vm.fields[kind, f"{field}._shift"])
        return base + (narrow << shift) if narrow and shift < 8 else 0

    def _read_symbol(self, symbol: int) -> str:
        size = self._vm.read_number(symbol + self._vm.fields["Symbol", "_length"], 2)
        body = self._vm.read(symbol + self._vm.fields["Symbol", "_body"], min(size, _NAME_MAX))
        return body.decode("ascii", "replace")

    def _has_flag(self, name: str) -> bool:
        return self._flags.get(name, False)

    @cached_property
    def _flags(self) -> dict[str, bool]:
        """The compressed pointers that this machine uses."""
        vm = self._vm
        first = vm.read_word(vm.fields["JVMFlag", "flags"])
        count = min(vm.read_word(vm.fields["JVMFlag", "numFlags"]), _FLAGS_MAX)
        stride = vm.sizes["JVMFlag"]
        name_at, value_at = vm.fields["JVMFlag", "_name"], vm.fields["JVMFlag", "_addr"]
        found = {}
        for flag in range(first, first + count * stride, stride or 1):
            name = vm.read(vm.read_word(flag + name_at), 32).split(b"\0", 1)[0]
            if name in (b"UseCompressedOops", b"UseCompressedClassPointers"):
                place = vm.read_word(flag + value_at)
                found[name.decode()] = bool(vm.read_number(place, 1))
        return found
