"""MemoryInfoListStream: every mapping with its protection, in Windows' terms."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Iterator
from dataclasses import replace

from perimortem.minidump import format as layout
from perimortem.minidump.format import MemoryInfo, MemoryInfoListHeader, StreamType
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.dump import MinidumpType
from perimortem.model.snapshot import Region


def write_memory_info(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    if not plan.types & MinidumpType.WITH_FULL_MEMORY_INFO:
        return None
    parts: list[bytes] = []
    allocation_base, path = 0, None
    borders = sorted({at for m in plan.snapshot.memory for at in (m.address, m.address + m.size)})
    for region in plan.snapshot.regions:
        if not region.path or region.path != path:
            allocation_base, path = region.start, region.path
        parts += [_write_region(part, allocation_base).to_bytes() for part in _cut(region, borders)]
    header = MemoryInfoListHeader(MemoryInfoListHeader.size(), MemoryInfo.size(), len(parts))
    return StreamType.MemoryInfoListStream, header.to_bytes() + b"".join(parts)


def _cut(region: Region, borders: list[int]) -> Iterator[Region]:
    """Where memory begins or ends within it: some readers find memory by the mapping that it begins."""
    start = region.start
    first, last = bisect_right(borders, start), bisect_left(borders, region.end)
    for border in borders[first:last]:
        yield replace(region, start=start, end=border)
        start = border
    yield replace(region, start=start) if start != region.start else region


def _write_region(region: Region, allocation_base: int) -> MemoryInfo:
    kind = layout.MEM_PRIVATE
    if region.inode:
        kind = layout.MEM_MAPPED if region.shared else layout.MEM_IMAGE
    protect = derive_protection(region)
    return MemoryInfo(
        base_address=region.start,
        allocation_base=allocation_base,
        allocation_protect=protect,
        alignment1=0,
        region_size=region.size,
        state=layout.MEM_COMMIT,
        protect=protect,
        type=kind,
        alignment2=0,
    )


def derive_protection(region: Region) -> int:
    """PAGE_* of a mapping; write-only does not exist there and counts as read-write."""
    if region.executable:
        if region.writable:
            return layout.PAGE_EXECUTE_READWRITE
        return layout.PAGE_EXECUTE_READ if region.readable else layout.PAGE_EXECUTE
    if region.writable:
        return layout.PAGE_READWRITE
    return layout.PAGE_READONLY if region.readable else layout.PAGE_NOACCESS
