"""Write a snapshot as a minidump.

In the file: header, directory, contexts, streams, soft errors, thread list, memory list, memory.
Memory is last, because it may reach further than a 32-bit RVA, and only Memory64List can say so. In time
it is first: the rest stays in our own memory until all of it is known.
"""

from __future__ import annotations

import json
import struct

from perimortem.binary.bulk import BulkCopier, Output
from perimortem.minidump.body import Body
from perimortem.minidump.context import write_context
from perimortem.minidump.format import (
    SIGNATURE,
    VERSION,
    Directory,
    Header,
    Location,
    Memory64ListHeader,
    MemoryDescriptor,
    MemoryDescriptor64,
    RawThread,
    StreamType,
)
from perimortem.minidump.streams import STREAMS
from perimortem.minidump.streams.threads import write_threads
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.dump import MinidumpType
from perimortem.model.snapshot import Snapshot

_DIRECTORY_MAX = len(STREAMS) + 3
_SOFT_ERRORS_BYTES = 16384
"""Room kept for the soft errors, which are known only when all memory has been read."""
_RVA_MAX = 0xFFFF_FFFF
_MEMORY_ALIGN = 4096
"""So that whole pages of a process are whole pages of the file, and holes stay holes."""


def write_minidump(snapshot: Snapshot, types: MinidumpType, out: Output) -> int:
    """Write ``snapshot`` to ``out``, positioned at 0; returns the size in bytes.

    Memory that ``snapshot.content`` cannot give is zero there and named in the soft errors.
    """
    body = Body(Header.size() + _DIRECTORY_MAX * Directory.size())
    plan = DumpPlan(snapshot, types, body)
    for thread in snapshot.threads:
        if thread.registers is not None:
            plan.contexts[thread.tid] = body.put(write_context(thread.registers), align=16)
    directory: list[Directory] = []
    for write_stream in STREAMS:
        stream = write_stream(plan)
        if stream is not None:
            _add(directory, stream[0], body.put(stream[1]))
    soft_errors = body.put(bytes(_SOFT_ERRORS_BYTES))
    threads = body.put(bytes(4 + RawThread.size() * len(snapshot.threads)))
    _add(directory, StreamType.ThreadListStream, threads)
    base_rva = _put_memory_list(plan, directory)
    body.patch(threads.rva, write_threads(plan))

    out.seek(base_rva)
    copier = BulkCopier(snapshot.content, out, snapshot.is_alive)
    for memory in snapshot.memory:
        missing = copier.copy(memory)
        if missing:
            snapshot.soft_errors.append(
                f"{missing} bytes at {memory.address:#x} could not be read and are zero"
            )
    size = out.tell()
    if snapshot.soft_errors:
        text = _render_soft_errors(snapshot.soft_errors)
        body.patch(soft_errors.rva, text)
        _add(directory, StreamType.MozSoftErrors, Location(len(text), soft_errors.rva))
    body.patch(0, _write_head(snapshot, types, directory))
    out.seek(0)
    out.write(body.view())
    return size


def _put_memory_list(plan: DumpPlan, directory: list[Directory]) -> int:
    """Memory64List for full memory, and for what a 32-bit RVA cannot reach; where the data begin."""
    ranges, body = plan.snapshot.memory, plan.body
    total = sum(memory.size for memory in ranges)
    is_long = (
        len(body) + MemoryDescriptor.size() * len(ranges) + total + 2 * _MEMORY_ALIGN > _RVA_MAX
    )
    if plan.types & MinidumpType.WITH_FULL_MEMORY or is_long:
        location = body.put(
            bytes(Memory64ListHeader.size() + MemoryDescriptor64.size() * len(ranges))
        )
        base_rva = _pad(body, plan)
        head = Memory64ListHeader(len(ranges), base_rva).to_bytes()
        records = b"".join(struct.pack("<QQ", r.address, r.size) for r in ranges)
        _add(directory, StreamType.Memory64ListStream, location)
    else:
        location = body.put(bytes(4 + MemoryDescriptor.size() * len(ranges)))
        base_rva = at = _pad(body, plan)
        for memory in ranges:
            plan.memory.append(MemoryDescriptor(memory.address, memory.size, at))
            at += memory.size
        head = struct.pack("<I", len(ranges))
        records = b"".join(descriptor.to_bytes() for descriptor in plan.memory)
        _add(directory, StreamType.MemoryListStream, location)
    body.patch(location.rva, head + records)
    return base_rva


def _pad(body: Body, plan: DumpPlan) -> int:
    """Large memory begins at a page; of a small dump every byte counts."""
    is_large = sum(memory.size for memory in plan.snapshot.memory) > 1 << 20
    body.put(b"", align=_MEMORY_ALIGN if is_large else 16)
    return len(body)


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
