"""Read any minidump, lazily: a stream is decoded on demand, and a count is trusted only
after it was checked against the stream's real size.

Folklore: some writers pad the 32-bit count of a list to 8 bytes (seen in dumps of old Windows
versions; Breakpad's reader knows it too): the stream is then exactly 4 bytes longer than its entries.
"""

from __future__ import annotations

import json
import struct
import sys
from array import array
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar, overload

from perimortem.binary.pieces import ReadAt
from perimortem.binary.record import Record
from perimortem.errors import MalformedInput
from perimortem.minidump.extensions import XstateEntry
from perimortem.minidump.format import (
    CV_SIGNATURE_ELF,
    CV_SIGNATURE_PDB70,
    EXCEPTION_PARAMETERS,
    SIGNATURE,
    VERSION,
    Directory,
    EntryListHeader,
    HandleDataHeader,
    HandleDescriptor,
    HandleDescriptor2,
    Header,
    Location,
    Memory64ListHeader,
    MemoryDescriptor,
    MemoryDescriptor64,
    MemoryInfo,
    MemoryInfoListHeader,
    MiscInfo,
    RawException,
    RawModule,
    RawSystemInfo,
    RawThread,
    StreamType,
    ThreadInfo,
    ThreadNameEntry,
    TokenInfo,
    TokenListHeader,
    UnloadedModule,
)
from perimortem.text import printable

STREAMS_MAX = 65536
STREAM_BYTES_MAX = 256 << 20
STRING_BYTES_MAX = 65536

_R = TypeVar("_R", bound=Record)


@dataclass(frozen=True)
class StreamEntry:
    """One entry of the directory."""

    index: int
    type: int
    size: int
    rva: int

    @property
    def name(self) -> str:
        """The stream's name, or its number in hex if it is unknown."""
        try:
            return StreamType(self.type).name
        except ValueError:
            return f"unknown stream {self.type:#x}"


class RecordList(Sequence[_R]):
    """Records of one size in a stream, decoded on access: there may be millions."""

    def __init__(self, data: bytes, kind: type[_R], offsets: range, rva: int) -> None:
        """``rva``: of ``data``."""
        self._data, self._kind, self._offsets, self._rva = data, kind, offsets, rva

    def __len__(self) -> int:
        return len(self._offsets)

    @overload
    def __getitem__(self, index: int) -> _R: ...
    @overload
    def __getitem__(self, index: slice) -> RecordList[_R]: ...
    def __getitem__(self, index: int | slice) -> _R | RecordList[_R]:
        if isinstance(index, slice):
            return RecordList(self._data, self._kind, self._offsets[index], self._rva)
        return self._kind.read(self._data, self._offsets[index])

    def __iter__(self) -> Iterator[_R]:
        return (self._kind.read(self._data, offset) for offset in self._offsets)

    def rva_of(self, index: int) -> int:
        """The offset of the record in the file."""
        return self._rva + self._offsets[index]

    def column(self, code: str, offset: int) -> array[int]:
        """One field of every record, fast: ``code`` of ``array``, "I" or "Q"."""
        values, stride = array(code), self._offsets.step
        width = values.itemsize
        start = self._offsets.start + offset
        if stride % width or sys.byteorder == "big":
            starts = range(start, start + len(self) * stride, stride)
            fields = (int.from_bytes(self._data[at : at + width], "little") for at in starts)
            return array(code, fields)
        if len(self):
            values.frombytes(self._data[start : start + (len(self) - 1) * stride + width])
        return values[:: stride // width]


@dataclass(frozen=True)
class ModuleFacts:
    """A module with its strings resolved; ``build_id`` is the identity in hex, if it has one."""

    raw: RawModule
    rva: int
    name: str
    build_id: str | None
    elf_build_id: bytes | None
    debug_file: str
    """The PDB that it names, or empty."""
    """The same as bytes, of an ELF file."""


@dataclass(frozen=True)
class HandleFacts:
    """A handle with its strings resolved."""

    raw: HandleDescriptor
    type_name: str
    object_name: str
    details: dict[str, str | int]
    """What our own writer added."""


@dataclass(frozen=True)
class ExceptionFacts:
    """The exception, its parameters and where its context lies."""

    raw: RawException
    parameters: tuple[int, ...]
    context: Location


@dataclass(frozen=True)
class Memory64Facts:
    """The ranges of full memory; their data follow each other from ``base_rva``."""

    base_rva: int
    ranges: RecordList[MemoryDescriptor64]


class MinidumpFile:
    """A minidump that is read on demand."""

    def __init__(self, read: ReadAt, size: int) -> None:
        """``size``: of the file, in bytes. Raises :class:`MalformedInput` if it is not a minidump."""
        self._read = read
        self.read_file = read
        """Any bytes, unchecked: fewer at the end of the file."""
        self.size = size
        if size == 0:
            raise MalformedInput("not a minidump", why="the file is empty")
        head = read(0, Header.size())
        if head[:4] != SIGNATURE:
            raise MalformedInput("not a minidump", why="it does not begin with MDMP")
        self.header = Header.read(head)
        if self.header.version & 0xFFFF != VERSION:
            raise MalformedInput(
                "not a minidump that can be read",
                why=f"its format version is {self.header.version & 0xFFFF:#x}, not {VERSION:#x}",
            )
        self.streams = self._read_directory()

    # Streams

    def find(self, stream_type: int) -> StreamEntry | None:
        """The first stream of a type."""
        return next((entry for entry in self.streams if entry.type == stream_type), None)

    def read_stream(self, entry: StreamEntry) -> bytes:
        """The bytes of a stream, at most 256 MiB. Raises if it is outside the file."""
        return self._read_location(entry.rva, min(entry.size, STREAM_BYTES_MAX), entry.name)

    def read_bytes(self, rva: int, size: int) -> bytes:
        """Any bytes of the file, checked to be inside it."""
        return self._read_location(rva, size, "a part of the dump")

    def check_bytes(self, rva: int, size: int) -> None:
        """Raises :class:`MalformedInput` when they lie outside the file."""
        if rva < 0 or size < 0 or rva + size > self.size:
            raise MalformedInput(
                "a part of the dump lies outside the file",
                why=f"{size} bytes at {rva:#x}, the file has {self.size}; was it cut?",
            )

    def read_string(self, rva: int) -> str:
        """A MINIDUMP_STRING; a damaged one is shown as such, never raised."""
        if rva == 0:
            return ""
        head = self._read(rva, 4) if 0 < rva < self.size else b""
        if len(head) < 4:
            return "<string outside the file>"
        (size,) = struct.unpack("<I", head)
        if size > STRING_BYTES_MAX or rva + 4 + size > self.size:
            return "<damaged string>"
        return self._read(rva + 4, size).decode("utf-16-le", "replace")

    # Typed streams; each takes the entry that `find` or the directory gave

    def read_threads(self, entry: StreamEntry) -> RecordList[RawThread]:
        return self._read_list(entry, RawThread)

    def read_modules(self, entry: StreamEntry) -> list[ModuleFacts]:
        modules = self._read_list(entry, RawModule)
        return [self.describe_module(raw, modules.rva_of(i)) for i, raw in enumerate(modules)]

    def read_raw_modules(self, entry: StreamEntry) -> RecordList[RawModule]:
        return self._read_list(entry, RawModule)

    def describe_module(self, raw: RawModule, rva: int) -> ModuleFacts:
        """``rva``: the offset of its record."""
        name = self.read_string(raw.name_rva)
        return ModuleFacts(raw, rva, name, *self._read_identity(raw))

    def read_memory_list(self, entry: StreamEntry) -> RecordList[MemoryDescriptor]:
        return self._read_list(entry, MemoryDescriptor)

    def read_memory64(self, entry: StreamEntry) -> Memory64Facts:
        data = self.read_stream(entry)
        header = Memory64ListHeader.read(data)
        offsets = self._read_entries(
            entry, data, Memory64ListHeader.size(), header.count, MemoryDescriptor64.size()
        )
        ranges = RecordList(data, MemoryDescriptor64, offsets, entry.rva)
        return Memory64Facts(header.base_rva, ranges)

    def read_thread_names(self, entry: StreamEntry) -> dict[int, str]:
        return {
            record.thread_id: self.read_string(record.name_rva)
            for record in self._read_list(entry, ThreadNameEntry)
        }

    def read_thread_infos(self, entry: StreamEntry) -> RecordList[ThreadInfo]:
        return self._read_sized_list(entry, EntryListHeader, ThreadInfo)

    def read_unloaded_modules(self, entry: StreamEntry) -> RecordList[UnloadedModule]:
        return self._read_sized_list(entry, EntryListHeader, UnloadedModule)

    def read_memory_infos(self, entry: StreamEntry) -> RecordList[MemoryInfo]:
        return self._read_sized_list(entry, MemoryInfoListHeader, MemoryInfo)

    def read_xstates(self, entry: StreamEntry) -> RecordList[XstateEntry]:
        return self._read_list(entry, XstateEntry)

    def read_tokens(self, entry: StreamEntry) -> list[tuple[TokenInfo, bytes]]:
        """Each token with its bytes, as far as they go."""
        data = self.read_stream(entry)
        header = TokenListHeader.read(data)
        at, tokens = header.header_size, []
        for _ in range(min(header.count, len(data) // TokenInfo.size())):
            info = TokenInfo.read(data, at)
            start = at + max(header.element_header_size, TokenInfo.size())
            if info.token_size < start - at or at + info.token_size > len(data):
                raise MalformedInput(f"{entry.name} is damaged", why="a token lies outside of it")
            tokens.append((info, data[start : at + info.token_size]))
            at += info.token_size
        return tokens

    def read_handles(
        self, entry: StreamEntry, limit: int | None = None
    ) -> tuple[HandleDataHeader, list[HandleFacts]]:
        """All handles, or the first ``limit``; the header has their number."""
        data = self.read_stream(entry)
        header = HandleDataHeader.read(data)
        kind: type[HandleDescriptor] = HandleDescriptor
        if header.descriptor_size >= HandleDescriptor2.size():
            kind = HandleDescriptor2
        self._check_entry_size(entry, header.descriptor_size, kind.size())
        offsets = self._read_entries(
            entry, data, header.header_size, header.count, header.descriptor_size
        )
        handles, details = [], self._read_handle_details()
        for offset in offsets[:limit]:
            raw = kind.read(data, offset)
            type_name = self.read_string(raw.type_name_rva)
            found = details.get(str(raw.handle))
            kept = found if isinstance(found, dict) else {}
            kept = {k: v for k, v in kept.items() if isinstance(v, str | int)}
            name = self.read_string(raw.object_name_rva)
            handles.append(HandleFacts(raw, type_name, name, kept))
        return header, handles

    def _read_handle_details(self) -> dict[str, Any]:
        """By handle; empty if our writer did not write the dump."""
        entry = self.find(StreamType.PerimortemHandles)
        try:
            value = json.loads(self.read_stream(entry)) if entry else {}
        except (ValueError, RecursionError, MalformedInput):
            return {}
        return value if isinstance(value, dict) else {}

    def read_exception(self, entry: StreamEntry) -> ExceptionFacts:
        data = self.read_stream(entry)
        raw = RawException.read(data)
        at = RawException.size()
        if len(data) < at + 8 * EXCEPTION_PARAMETERS + Location.size():
            raise MalformedInput("the exception stream is truncated")
        parameters = struct.unpack_from(f"<{EXCEPTION_PARAMETERS}Q", data, at)
        count = min(raw.parameter_count, EXCEPTION_PARAMETERS)
        context = Location.read(data, at + 8 * EXCEPTION_PARAMETERS)
        return ExceptionFacts(raw, parameters[:count], context)

    def read_system_info(self, entry: StreamEntry) -> RawSystemInfo:
        return RawSystemInfo.read(self.read_stream(entry))

    def read_misc_info(self, entry: StreamEntry) -> MiscInfo:
        return MiscInfo.read(self.read_stream(entry))

    # Checked access

    def _read_directory(self) -> tuple[StreamEntry, ...]:
        header = self.header
        if header.stream_count > STREAMS_MAX:
            raise MalformedInput(
                "the minidump is damaged", why=f"it claims {header.stream_count} streams"
            )
        size = header.stream_count * Directory.size()
        raw = self._read_location(header.stream_directory_rva, size, "the stream directory")
        entries = []
        for index in range(header.stream_count):
            record = Directory.read(raw, index * Directory.size())
            entries.append(StreamEntry(index, record.stream_type, record.data_size, record.rva))
        return tuple(entries)

    def _read_location(self, rva: int, size: int, what: str) -> bytes:
        if rva < 0 or size < 0 or rva + size > self.size:
            raise MalformedInput(
                f"{what} lies outside the file",
                why=f"{size} bytes at {rva:#x}, the file has {self.size}; was it cut?",
            )
        data = self._read(rva, size)
        if len(data) != size:
            raise MalformedInput(f"{what} could not be read whole", why="the file changed")
        return data

    def _read_list(self, entry: StreamEntry, record: type[_R]) -> RecordList[_R]:
        """A 32-bit count and that many records."""
        data = self.read_stream(entry)
        if len(data) < 4:
            raise MalformedInput(f"{entry.name} is truncated", why="not even its count is complete")
        (count,) = struct.unpack_from("<I", data)
        start = 8 if len(data) == 8 + count * record.size() else 4
        offsets = self._read_entries(entry, data, start, count, record.size())
        return RecordList(data, record, offsets, entry.rva)

    def _read_sized_list(
        self,
        entry: StreamEntry,
        header_kind: type[EntryListHeader] | type[MemoryInfoListHeader],
        record: type[_R],
    ) -> RecordList[_R]:
        """A header with its own size and that of its entries, then these."""
        data = self.read_stream(entry)
        header = header_kind.read(data)
        self._check_entry_size(entry, header.entry_size, record.size())
        offsets = self._read_entries(
            entry, data, header.header_size, header.count, header.entry_size
        )
        return RecordList(data, record, offsets, entry.rva)

    def _read_entries(
        self, entry: StreamEntry, data: bytes, start: int, count: int, size: int
    ) -> range:
        if start < 0 or start + count * size > len(data):
            raise MalformedInput(
                f"{entry.name} is damaged",
                why=f"it claims {count} entries of {size} bytes and has {len(data)} bytes",
            )
        return range(start, start + count * size, size)

    def _check_entry_size(self, entry: StreamEntry, size: int, least: int) -> None:
        if size < least:
            raise MalformedInput(
                f"{entry.name} is damaged", why=f"its entries have {size} bytes, not {least}"
            )

    def _read_identity(self, module: RawModule) -> tuple[str | None, bytes | None, str]:
        """Build-id (ELF), or GUID and age (PDB), in hex, as symbol servers write them; the build-id as
        bytes; the name of the PDB."""
        if module.cv_size < 8 or module.cv_rva + module.cv_size > self.size:
            return None, None, ""
        data = self._read(module.cv_rva, min(module.cv_size, 4096))
        if len(data) < 8:
            return None, None, ""
        (signature,) = struct.unpack_from("<I", data)
        if signature == CV_SIGNATURE_ELF:
            return data[4:].hex(), data[4:], ""
        if signature == CV_SIGNATURE_PDB70 and len(data) >= 24:
            first, second, third = struct.unpack_from("<IHH", data, 4)
            (age,) = struct.unpack_from("<I", data, 20)
            guid = f"{first:08X}{second:04X}{third:04X}{data[12:20].hex().upper()}"
            name = data[24:].split(b"\0", 1)[0].decode("utf-8", "backslashreplace")
            return f"{guid}{age:x}", None, printable(name)
        return None, None, ""
