"""Which Java monitor (``synchronized``) each thread waits for, and which thread owns it. Pure.

HotSpot describes its own structures to debuggers: ``gHotSpotVMStructs``, an exported table of the fields
of its classes with their offsets. So nothing here depends on a version, as long as the fields are there.

Sources: OpenJDK 17: vmStructs.hpp and .cpp (VMStructEntry), objectMonitor.hpp (_owner), threadSMR.hpp.
Folklore: a thread that only inflates a monitor writes an address on the stack of its owner into _owner.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perimortem.model.snapshot import ReadMemory

_ENTRIES_MAX = 20_000
_THREADS_MAX = 10_000
_NAME_MAX = 128
_PREFIX = "gHotSpotVMStructEntry"
_LAYOUT = (
    "TypeNameOffset",
    "FieldNameOffset",
    "OffsetOffset",
    "AddressOffset",
    "ArrayStride",
)
_SIZE_MAX = 4096
_THREAD_CLASSES = ("JavaThread", "Thread")
"""A field of a Java thread may belong to its base class, by version."""

FindVariable = Callable[[str], int | None]
"""The address of an exported variable of libjvm."""


@dataclass(frozen=True)
class JavaMonitor:
    """What a thread waits for. ``owner_tid``: the thread that owns it, None if that is not known."""

    address: int
    owner_tid: int | None


def find_java_monitors(read: ReadMemory, find_variable: FindVariable) -> dict[int, JavaMonitor]:
    """By the waiting thread's number (OSThread::_thread_id); empty if libjvm describes nothing."""
    fields = _read_fields(read, find_variable)
    return _Search(read, fields).run() if fields is not None else {}


@dataclass(frozen=True)
class _Fields:
    """Addresses of static fields, and offsets of the others."""

    thread_list: int
    length: int
    threads: int
    os_thread: int
    thread_id: int
    pending_monitor: int
    owner: int
    stack_base: int
    stack_size: int


@dataclass(frozen=True)
class _JavaThread:
    address: int
    tid: int
    pending_monitor: int
    stack: range


class _Search:
    def __init__(self, read: ReadMemory, fields: _Fields) -> None:
        self._read, self._fields = read, fields

    def run(self) -> dict[int, JavaMonitor]:
        threads = list(self._list_threads())
        found = {}
        for thread in threads:
            if thread.pending_monitor:
                owner = self._read_word(thread.pending_monitor + self._fields.owner)
                tid = _find_owner(threads, owner) if owner else None
                found[thread.tid] = JavaMonitor(thread.pending_monitor, tid)
        return found

    def _list_threads(self) -> Iterator[_JavaThread]:
        fields = self._fields
        threads = self._read_word(fields.thread_list)
        count = self._read_number(threads + fields.length) if threads else 0
        first = self._read_word(threads + fields.threads) if threads else 0
        raw = self._read(first, 8 * min(count, _THREADS_MAX)) if first else b""
        for (address,) in struct.iter_unpack("<Q", raw[: len(raw) // 8 * 8]):
            os_thread = self._read_word(address + fields.os_thread)
            tid = self._read_number(os_thread + fields.thread_id) if os_thread else 0
            base = self._read_word(address + fields.stack_base)
            size = self._read_word(address + fields.stack_size)
            monitor = self._read_word(address + fields.pending_monitor)
            if tid:
                stack = range(base - size, base) if 0 < size < base else range(0)
                yield _JavaThread(address, tid, monitor, stack)

    def _read_word(self, address: int) -> int:
        return int.from_bytes(self._read(address, 8), "little")

    def _read_number(self, address: int) -> int:
        return int.from_bytes(self._read(address, 4), "little")


def _find_owner(threads: list[_JavaThread], owner: int) -> int | None:
    return next((t.tid for t in threads if owner == t.address or owner in t.stack), None)


def _read_fields(read: ReadMemory, find_variable: FindVariable) -> _Fields | None:
    def read_variable(name: str) -> int:
        address = find_variable(name)
        return int.from_bytes(read(address, 8), "little") if address is not None else 0

    table = read_variable("gHotSpotVMStructs")
    # The first of the offsets is 0: what counts is that there is a stride, and that all are small.
    type_at, field_at, offset_at, address_at, stride = (
        read_variable(_PREFIX + name) for name in _LAYOUT
    )
    most = max(type_at, field_at, offset_at, address_at)
    if not table or not most + 8 <= stride <= _SIZE_MAX:
        return None

    def read_name(entry: bytes, at: int) -> str:
        address = int.from_bytes(entry[at : at + 8], "little")
        return read(address, _NAME_MAX).split(b"\0", 1)[0].decode("ascii", "replace")

    found: dict[tuple[str, str], int] = {}
    for index in range(_ENTRIES_MAX):
        entry = read(table + index * stride, stride)
        if len(entry) < stride or not any(entry[type_at : type_at + 8]):
            break
        offset, address = (
            int.from_bytes(entry[at : at + 8], "little") for at in (offset_at, address_at)
        )
        found[read_name(entry, type_at), read_name(entry, field_at)] = address or offset
    return _select(found)


def _select(found: dict[tuple[str, str], int]) -> _Fields | None:
    def of_thread(name: str) -> int:
        return next(found[kind, name] for kind in _THREAD_CLASSES if (kind, name) in found)

    try:
        return _Fields(
            thread_list=found["ThreadsSMRSupport", "_java_thread_list"],
            length=found["ThreadsList", "_length"],
            threads=found["ThreadsList", "_threads"],
            os_thread=of_thread("_osthread"),
            thread_id=found["OSThread", "_thread_id"],
            pending_monitor=of_thread("_current_pending_monitor"),
            owner=found["ObjectMonitor", "_owner"],
            stack_base=of_thread("_stack_base"),
            stack_size=of_thread("_stack_size"),
        )
    except (KeyError, StopIteration):
        return None
