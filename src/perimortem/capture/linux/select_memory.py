"""Which memory belongs in a dump, by the MINIDUMP_TYPE that was asked for. Pure."""

from __future__ import annotations

from collections.abc import Iterable

from perimortem.capture.linux.maps import UNREADABLE_PATHS, find_region
from perimortem.model.dump import MinidumpType
from perimortem.model.snapshot import MemoryRange, Module, Region, Thread

RED_ZONE = 128
STACK_MAX = 256 * 1024
"""Of each stack, from its pointer on. A usual stack is a few KiB; a runaway one is cut, and said so."""
STACK_TOP = 4096
"""Of each stack, before the rest of any: the frames that tell most, whatever the number of threads."""
OVERFLOW_MAX = 1 << 20
"""How far below its stack a thread may have stepped; a guard area is no larger by default."""
CODE_AROUND_PC = 256
DATA_REGION_MAX = 4 << 20
TOTAL_MAX = 96 << 20
"""Of a dump without full memory, so that copying it cannot hold the target for long."""
_PAGE = 4096


def select_memory(
    types: MinidumpType,
    threads: Iterable[Thread],
    regions: tuple[Region, ...],
    modules: tuple[Module, ...],
    wanted: list[MemoryRange],
    soft_errors: list[str],
) -> list[MemoryRange]:
    """Ranges in address order, disjoint, each inside readable mappings."""
    if types & MinidumpType.WITH_FULL_MEMORY:
        return _select_full(regions, modules, soft_errors)
    # In the order of their worth: what does not fit into the budget is the last of it.
    chosen = list(wanted)
    chosen += [MemoryRange(module.base, _PAGE) for module in modules]
    stacks = [_select_stack(thread, regions, soft_errors) for thread in threads]
    chosen += [MemoryRange(s.address, min(s.size, STACK_TOP)) for stack in stacks for s in stack]
    chosen += [part for stack in stacks for part in stack]
    if types & MinidumpType.WITH_DATA_SEGS:
        chosen += _select_data(regions, soft_errors)
    if types & MinidumpType.WITH_PRIVATE_READ_WRITE_MEMORY:
        chosen += [MemoryRange(r.start, r.size) for r in regions if _is_private_data(r)]
    if types & MinidumpType.WITH_CODE_SEGS:
        chosen += [MemoryRange(r.start, r.size) for r in regions if r.executable and r.readable]
    return _merge(_clip(_limit(chosen, soft_errors), regions))


def _select_stack(
    thread: Thread, regions: tuple[Region, ...], soft_errors: list[str]
) -> list[MemoryRange]:
    if thread.registers is None:
        return []
    general = thread.registers.general
    pc = general["rip"]
    chosen = [MemoryRange(max(0, pc - CODE_AROUND_PC // 2), CODE_AROUND_PC)]
    stack = find_region(regions, general["rsp"])
    if stack is None or not stack.readable:
        stack = _find_overflown(regions, general["rsp"])
    if stack is None:
        soft_errors.append(
            f"thread {thread.tid}: its stack pointer {general['rsp']:#x} is in no readable memory"
        )
        return chosen
    start = max(stack.start, general["rsp"] - RED_ZONE)
    size = stack.end - start
    if size > STACK_MAX:
        soft_errors.append(
            f"thread {thread.tid}: {STACK_MAX} of {size} bytes of its stack were taken"
        )
        size = STACK_MAX
    chosen.append(MemoryRange(start, size))
    return chosen


def _find_overflown(regions: tuple[Region, ...], stack_pointer: int) -> Region | None:
    """The stack that has grown into its guard, or below it: the next memory above."""
    above = next((r for r in regions if r.start >= stack_pointer and r.readable), None)
    is_near = above is not None and above.start - stack_pointer <= OVERFLOW_MAX
    return above if is_near else None


def _select_data(regions: tuple[Region, ...], soft_errors: list[str]) -> list[MemoryRange]:
    """.data, .bss and RELRO: private writable parts of mapped files, and what follows them."""
    chosen = []
    for before, region in zip((None, *regions), regions, strict=False):
        is_bss = (
            before is not None
            and before.inode
            and before.end == region.start
            and not region.path
            and region.writable
        )
        is_data = region.inode and region.writable and not region.shared
        if (is_data or is_bss) and region.readable:
            size = min(region.size, DATA_REGION_MAX)
            if size < region.size:
                soft_errors.append(
                    f"{size} of {region.size} bytes of globals at {region.start:#x} were taken"
                )
            chosen.append(MemoryRange(region.start, size))
    return chosen


def _select_full(
    regions: tuple[Region, ...], modules: tuple[Module, ...], soft_errors: list[str]
) -> list[MemoryRange]:
    module_bases = {module.base for module in modules}
    chosen = []
    for region in regions:
        if not region.readable or region.path in UNREADABLE_PATHS:
            continue
        reason = _reason_to_omit(region)
        if reason:
            soft_errors.append(
                f"{region.size} bytes at {region.start:#x} ({region.path or 'anonymous'}) "
                f"were left out: {reason}"
            )
            continue
        if region.inode and not region.writable:
            # Read-only parts of files are in the files; their first page identifies them.
            if region.start in module_bases:
                chosen.append(MemoryRange(region.start, min(region.size, _PAGE)))
            continue
        chosen.append(MemoryRange(region.start, region.size))
    return chosen


def _reason_to_omit(region: Region) -> str:
    if "io" in region.vm_flags or "pf" in region.vm_flags:
        return "device memory"
    if "dd" in region.vm_flags:
        return "marked MADV_DONTDUMP by the program"
    if region.path.startswith("/dev/") and not region.path.startswith("/dev/shm/"):
        return "device memory"
    return ""


def _is_private_data(region: Region) -> bool:
    return region.readable and region.writable and not region.shared


def _clip(ranges: list[MemoryRange], regions: tuple[Region, ...]) -> list[MemoryRange]:
    clipped = []
    for wanted in ranges:
        at, end = wanted.address, wanted.address + wanted.size
        while at < end:
            region = find_region(regions, at)
            if region is None:
                break
            stop = min(end, region.end)
            if region.readable and region.path not in UNREADABLE_PATHS:
                clipped.append(MemoryRange(at, stop - at))
            at = stop
    return clipped


def _merge(ranges: list[MemoryRange]) -> list[MemoryRange]:
    merged: list[MemoryRange] = []
    for wanted in sorted(ranges, key=lambda r: r.address):
        last = merged[-1] if merged else None
        if last and wanted.address <= last.address + last.size:
            end = max(last.address + last.size, wanted.address + wanted.size)
            merged[-1] = MemoryRange(last.address, end - last.address)
        elif wanted.size > 0:
            merged.append(wanted)
    return merged


def _limit(ranges: list[MemoryRange], soft_errors: list[str]) -> list[MemoryRange]:
    kept, total, omitted = [], 0, 0
    for wanted in ranges:
        size = min(wanted.size, TOTAL_MAX - total)
        omitted += wanted.size - size
        total += size
        if size > 0:
            kept.append(MemoryRange(wanted.address, size))
    if omitted:
        soft_errors.append(
            f"{omitted} bytes of memory were left out: over {TOTAL_MAX >> 20} MiB, take a full dump"
        )
    return kept
