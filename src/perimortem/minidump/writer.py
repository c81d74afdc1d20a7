"""Write a snapshot as a minidump.

The order in the file: header, directory, streams, soft errors, memory. Memory is last, because with
full memory it may be larger than a 32-bit RVA can reach; Memory64List alone can say so.
"""

from __future__ import annotations

import json
import struct
from typing import Protocol

from perimortem.errors import ProcessGone
from perimortem.minidump.body import Body
from perimortem.minidump.format import (
    SIGNATURE,
    VERSION,
    Directory,
    Header,
    Location,
    Memory64ListHeader,
    MemoryDescriptor,
    MemoryDescriptor64,
    StreamType,
)
from perimortem.minidump.streams import STREAMS
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.dump import MinidumpType
from perimortem.model.snapshot import Snapshot

_DIRECTORY_MAX = len(STREAMS) + 3
_SOFT_ERRORS_BYTES = 16384
"""Room kept for the soft errors, which are known only when all memory has been read."""
_CHUNK = 1 << 20
_PAGE = 4096
_HOLES_BEFORE_CHECK = 1 << 20
"""After so many unreadable bytes in one range ask whether the process is still there."""


class Output(Protocol):
    """A binary file that can be written and sought."""

    def write(self, data: bytes | memoryview, /) -> int: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


def write_minidump(snapshot: Snapshot, types: MinidumpType, out: Output) -> int:
    """Write ``snapshot`` to ``out``, positioned at 0; returns the size in bytes.

    Memory that ``snapshot.read`` cannot give is written as zeros and named in the soft errors.
    """
    reserved = Header.size() + _DIRECTORY_MAX * Directory.size()
    body = Body(reserved)
    is_full = bool(types & MinidumpType.WITH_FULL_MEMORY)
    memory = [] if is_full else _place_memory(snapshot, body)
    plan = DumpPlan(snapshot, types, body, memory)
    directory: list[Directory] = []
    for write_stream in STREAMS:
        stream = write_stream(plan)
        if stream is not None:
            _add(directory, stream[0], body.put(stream[1]))
    soft_errors = body.put(bytes(_SOFT_ERRORS_BYTES))
    if is_full:
        size = _write_full_memory(snapshot, body, directory, out)
    else:
        descriptors = b"".join(descriptor.to_bytes() for descriptor in memory)
        location = body.put(struct.pack("<I", len(memory)) + descriptors)
        _add(directory, StreamType.MemoryListStream, location)
        out.write(body.to_bytes())
        size = out.tell()
    text = _render_soft_errors(snapshot.soft_errors)
    out.seek(soft_errors.rva)
    out.write(text)
    if snapshot.soft_errors:
        _add(directory, StreamType.MozSoftErrors, Location(len(text), soft_errors.rva))
    out.seek(0)
    out.write(_write_head(snapshot, types, directory))
    return size


def _place_memory(snapshot: Snapshot, body: Body) -> list[MemoryDescriptor]:
    placed = []
    for memory in snapshot.memory:
        location = body.put(snapshot.read(memory.address, memory.size), align=16)
        placed.append(MemoryDescriptor(memory.address, location.data_size, location.rva))
    return placed


def _write_full_memory(
    snapshot: Snapshot, body: Body, directory: list[Directory], out: Output
) -> int:
    size = Memory64ListHeader.size() + MemoryDescriptor64.size() * len(snapshot.memory)
    location = body.put(bytes(size))
    base_rva = len(body)
    head = Memory64ListHeader(len(snapshot.memory), base_rva).to_bytes()
    ranges = (MemoryDescriptor64(memory.address, memory.size) for memory in snapshot.memory)
    body.patch(location.rva, head + b"".join(entry.to_bytes() for entry in ranges))
    _add(directory, StreamType.Memory64ListStream, location)
    out.write(body.to_bytes())
    for memory in snapshot.memory:
        missing = _copy(snapshot, memory.address, memory.size, out)
        if missing:
            snapshot.soft_errors.append(
                f"{missing} bytes at {memory.address:#x} could not be read and are zero"
            )
    return out.tell()


def _copy(snapshot: Snapshot, address: int, size: int, out: Output) -> int:
    """Copy in large pieces; returns how many bytes could not be read."""
    missing = 0
    end = address + size
    while address < end:
        if missing >= _HOLES_BEFORE_CHECK and not snapshot.is_alive():
            raise ProcessGone(f"process {snapshot.pid} ended while its memory was read")
        wanted = min(_CHUNK, end - address)
        data = snapshot.read(address, wanted)
        out.write(data)
        address += len(data)
        if len(data) < wanted:
            hole = min(_PAGE - address % _PAGE, end - address)
            out.write(bytes(hole))
            missing += hole
            address += hole
    return missing


def _write_head(snapshot: Snapshot, types: MinidumpType, directory: list[Directory]) -> bytes:
    header = Header(
        signature=SIGNATURE,
        version=VERSION,
        stream_count=len(directory),
        stream_directory_rva=Header.size(),
        checksum=0,
        time_date_stamp=snapshot.taken_at_s & 0xFFFFFFFF,
        flags=types,
    )
    return header.to_bytes() + b"".join(entry.to_bytes() for entry in directory)


def _add(directory: list[Directory], stream_type: StreamType, location: Location) -> None:
    directory.append(Directory(stream_type, location.data_size, location.rva))


def _render_soft_errors(soft_errors: list[str]) -> bytes:
    """A JSON array that fits; what does not is counted in its last element."""
    kept: list[str] = []
    size = 2
    for index, error in enumerate(soft_errors):
        item = json.dumps(error)
        if size + len(item) + 64 > _SOFT_ERRORS_BYTES:
            kept.append(json.dumps(f"{len(soft_errors) - index} more soft errors"))
            break
        kept.append(item)
        size += len(item) + 1
    return ("[" + ",".join(kept) + "]").encode("ascii")
