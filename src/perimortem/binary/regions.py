"""The mappings of an address space, in address order: which holds an address, which hold code. Pure."""

from __future__ import annotations

from dataclasses import replace

from perimortem.model.snapshot import Region

UNREADABLE_PATHS = frozenset({"[vvar]", "[vvar_vclock]", "[vsyscall]"})


def find_region(regions: tuple[Region, ...], address: int) -> Region | None:
    """The mapping that holds ``address``."""
    low, high = 0, len(regions)
    while low < high:
        middle = (low + high) // 2
        if regions[middle].end <= address:
            low = middle + 1
        else:
            high = middle
    if low < len(regions) and regions[low].start <= address:
        return regions[low]
    return None


def with_flags(regions: tuple[Region, ...], earlier: tuple[Region, ...]) -> tuple[Region, ...]:
    """``regions`` with the VmFlags that those at the same place had a moment before."""
    flagged = []
    for region in regions:
        before = find_region(earlier, region.start)
        is_same = before is not None and before.path == region.path
        flagged.append(replace(region, vm_flags=before.vm_flags) if is_same and before else region)
    return tuple(flagged)


def list_code(regions: tuple[Region, ...]) -> list[tuple[int, int]]:
    """(start, end) of executable memory, adjacent ranges merged."""
    code: list[tuple[int, int]] = []
    for region in regions:
        if region.executable:
            if code and code[-1][1] == region.start:
                code[-1] = (code[-1][0], region.end)
            else:
                code.append((region.start, region.end))
    return code
