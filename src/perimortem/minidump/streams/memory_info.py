"""MemoryInfoListStream: every mapping with its protection, in Windows' words."""

from __future__ import annotations

from perimortem.minidump import format as layout
from perimortem.minidump.format import MemoryInfo, MemoryInfoListHeader, StreamType
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.dump import MinidumpType
from perimortem.model.snapshot import Region


def write_memory_info(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    if not plan.types & MinidumpType.WITH_FULL_MEMORY_INFO:
        return None
    regions = plan.snapshot.regions
    header = MemoryInfoListHeader(MemoryInfoListHeader.size(), MemoryInfo.size(), len(regions))
    parts = [header.to_bytes()]
    allocation_base, path = 0, None
    for region in regions:
        if not region.path or region.path != path:
            allocation_base, path = region.start, region.path
        parts.append(_write_region(region, allocation_base).to_bytes())
    return StreamType.MemoryInfoListStream, b"".join(parts)


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
    """PAGE_* of a mapping; write-only is not known there and counts as read-write."""
    if region.executable:
        if region.writable:
            return layout.PAGE_EXECUTE_READWRITE
        return layout.PAGE_EXECUTE_READ if region.readable else layout.PAGE_EXECUTE
    if region.writable:
        return layout.PAGE_READWRITE
    return layout.PAGE_READONLY if region.readable else layout.PAGE_NOACCESS
