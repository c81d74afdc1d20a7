"""The modules, mappings and descriptors of a process, for the tables of a page. Pure."""

from __future__ import annotations

from perimortem.documents import inventory as documents
from perimortem.model.snapshot import Module, Region, Snapshot
from perimortem.text import printable

_REGIONS_MAX, _HANDLES_MAX = 4000, 2000


def render_inventory(snapshot: Snapshot) -> documents.Inventory:
    """Long lists are truncated; their counts are not."""
    handles = snapshot.handles
    return documents.Inventory(
        modules=[_render_module(module) for module in snapshot.modules],
        region_count=len(snapshot.regions),
        regions=[_render_region(region) for region in snapshot.regions[:_REGIONS_MAX]],
        kinds=_sum_kinds(snapshot),
        handle_count=None if handles is None else len(handles),
        handles=None
        if handles is None
        else [
            documents.Handle(
                number=handle.number,
                type=printable(handle.type_name),
                name=printable(handle.object_name),
                details={str(k): printable(str(v)) for k, v in handle.details.items()},
            )
            for handle in handles[:_HANDLES_MAX]
        ],
    )


def _render_module(module: Module) -> documents.Module:
    return documents.Module(
        path=printable(module.path),
        base=f"{module.base:#x}",
        size_bytes=module.size,
        build_id=module.build_id.hex() if module.build_id else module.debug_id,
    )


def _render_region(region: Region) -> documents.Region:
    return documents.Region(
        start=f"{region.start:#x}",
        size_bytes=region.size,
        rights=_rights(region),
        shared=region.shared,
        path=printable(region.path),
    )


def _rights(region: Region) -> str:
    return "".join(
        letter if has else "-"
        for letter, has in zip(
            "rwx", (region.readable, region.writable, region.executable), strict=True
        )
    )


def _sum_kinds(snapshot: Snapshot) -> list[documents.MemoryKind]:
    """Bytes of address space by use, largest first."""
    pointers = [
        thread.registers.general.get("rsp", thread.registers.general.get("sp", 0))
        for thread in snapshot.threads
        if thread.registers is not None
    ]
    sums: dict[str, int] = {}
    for region in snapshot.regions:
        kind = _kind(region, pointers)
        sums[kind] = sums.get(kind, 0) + region.size
    return [
        documents.MemoryKind(kind, size) for kind, size in sorted(sums.items(), key=lambda s: -s[1])
    ]


def _kind(region: Region, pointers: list[int]) -> str:
    if not region.readable and not region.executable and not region.writable:
        return "reserved"
    if region.path == "[heap]":
        return "heap"
    if any(region.start <= pointer < region.end for pointer in pointers):
        return "stacks"
    if region.path and not region.path.startswith("["):
        return "code" if region.executable else "data of files"
    return "shared" if region.shared else "anonymous"
