"""The Java threads of a HotSpot machine, and its own description of its structures. Pure.

HotSpot describes itself to debuggers: exported tables of the fields of its classes with their offsets,
of constants, and of sizes. So nothing that is read by them depends on a version, as long as it is named.

Sources: OpenJDK 17: vmStructs.hpp and .cpp, threadSMR.hpp.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from perimortem.model.snapshot import ReadMemory

_ENTRIES_MAX = 20_000
_THREADS_MAX = 10_000
_NAME_MAX = 128
_STRIDE_MAX = 4096
_THREAD_CLASSES = ("JavaThread", "Thread")
"""A field of a Java thread may belong to its base class, by version."""

FindVariable = Callable[[str], int | None]
"""The address of an exported variable of libjvm."""


@dataclass(frozen=True)
class JavaThread:
    """``tid``: its number, in the pid namespace of its process."""

    address: int
    tid: int
    stack: range


class HotSpot:
    """Fields that are not described raise KeyError."""

    def __init__(
        self,
        read: ReadMemory,
        fields: dict[tuple[str, str], int],
        constants: dict[str, int],
        sizes: dict[str, int],
    ) -> None:
        """``fields``: by (class, field), the offset of each, or the address if it is static."""
        self.read = read
        self.fields, self.constants, self.sizes = fields, constants, sizes

    def list_threads(self) -> list[JavaThread]:
        return list(self._read_threads())

    def of_thread(self, field: str) -> int:
        """The offset of a field of a Java thread."""
        key = next(((c, field) for c in _THREAD_CLASSES if (c, field) in self.fields), ("", field))
        return self.fields[key]

    def read_word(self, address: int) -> int:
        """Unsigned; 0 where it cannot be read."""
        return self.read_number(address, 8)

    def read_number(self, address: int, size: int = 4) -> int:
        """Likewise, of ``size`` bytes."""
        data = self.read(address, size)
        return int.from_bytes(data, "little") if len(data) == size else 0

    def _read_threads(self) -> Iterator[JavaThread]:
        os_thread_at, tid_at = self.of_thread("_osthread"), self.fields["OSThread", "_thread_id"]
        base_at, size_at = self.of_thread("_stack_base"), self.of_thread("_stack_size")
        listed = self.read_word(self.fields["ThreadsSMRSupport", "_java_thread_list"])
        count = self.read_number(listed + self.fields["ThreadsList", "_length"]) if listed else 0
        first = self.read_word(listed + self.fields["ThreadsList", "_threads"]) if listed else 0
        raw = self.read(first, 8 * min(count, _THREADS_MAX)) if first else b""
        for (address,) in struct.iter_unpack("<Q", raw[: len(raw) // 8 * 8]):
            os_thread = self.read_word(address + os_thread_at)
            tid = self.read_number(os_thread + tid_at) if os_thread else 0
            base, size = self.read_word(address + base_at), self.read_word(address + size_at)
            if tid:
                yield JavaThread(
                    address, tid, range(base - size, base) if 0 < size < base else range(0)
                )


def read_hotspot(read: ReadMemory, find_variable: FindVariable) -> HotSpot | None:
    """None if libjvm describes nothing."""
    tables = _Tables(read, find_variable)
    fields = {}
    for kind, name, offset, address in tables.list_entries(
        "gHotSpotVMStruct", "TypeName", "FieldName", "Offset", "Address"
    ):
        fields[tables.read_name(kind), tables.read_name(name)] = address or offset
    if not fields:
        return None
    constants = tables.list_entries("gHotSpotVMIntConstant", "Name", "Value")
    sizes = tables.list_entries("gHotSpotVMType", "TypeName", "Size")
    return HotSpot(
        read,
        fields,
        {tables.read_name(name): value & 0xFFFFFFFF for name, value in constants},
        {tables.read_name(name): size for name, size in sizes},
    )


class _Tables:
    """Each ends with an entry that has no name."""

    def __init__(self, read: ReadMemory, find_variable: FindVariable) -> None:
        self._read, self._find_variable = read, find_variable

    def list_entries(self, table: str, *columns: str) -> Iterator[tuple[int, ...]]:
        """The words of these columns; the first is its name."""
        first = self._read_variable(f"{table}s")
        stride = self._read_variable(f"{table}EntryArrayStride")
        # The first of the offsets is 0: what counts is that there is a stride, and that all are small.
        places = [self._read_variable(f"{table}Entry{column}Offset") for column in columns]
        if not first or not max(places) + 8 <= stride <= _STRIDE_MAX:
            return
        for index in range(_ENTRIES_MAX):
            entry = self._read(first + index * stride, stride)
            words = tuple(int.from_bytes(entry[at : at + 8], "little") for at in places)
            if len(entry) < stride or not words[0]:
                return
            yield words

    def read_name(self, address: int) -> str:
        return self._read(address, _NAME_MAX).split(b"\0", 1)[0].decode("ascii", "replace")

    def _read_variable(self, name: str) -> int:
        address = self._find_variable(name)
        return int.from_bytes(self._read(address, 8), "little") if address is not None else 0
