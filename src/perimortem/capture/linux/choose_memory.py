"""Which memory belongs in a dump, by the requested MINIDUMP_TYPE. Pure.

docs/dumps.md has the table: each flag, what Windows does, what perimortem does.
"""

from __future__ import annotations

from array import array
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from perimortem.binary.regions import UNREADABLE_PATHS, find_region
from perimortem.capture.linux.copied_memory import merge
from perimortem.model.dump import DumpOptions, MinidumpType
from perimortem.model.snapshot import MemoryRange, Module, ReadMemory, Region, Registers, Thread

RED_ZONE = 128
STACK_MAX = 256 * 1024
"""Per stack, from its pointer on. A usual stack is a few KiB; a runaway one is cut, and noted."""
STRUCK_STACK_MAX = 16 << 20
"""For the crashed thread: an overflowed stack should be complete; 8 MiB is the usual limit."""
LAST_WORK_STACK = 8 << 10
"""How much of its stack is searched for what its last calls worked on: objects, messages."""
STACK_TOP = 4096
"""Per stack, before the rest of any: the most useful frames, however many threads there are."""
OVERFLOW_MAX = 1 << 20
"""How far below its stack a thread may have stepped; a guard area is no larger by default."""
FRAME_MAX = 1 << 30
"""The same, by a function with that much on its stack. Arbitrary."""
CODE_AROUND_PC = 256
ARGUMENT_BEFORE, ARGUMENT_AFTER = 64, 192
DATA_REGION_MAX = 4 << 20
TOTAL_MAX = 96 << 20
"""Of stacks, globals and what they point to, so that copying cannot stop the target for long."""
FILTERED_MAX = 16 << 20
POINTED_STACK_MAX, POINTED_STACKS_MAX = 64 << 10, 4 << 20
"""How much of each stack, and of all, is searched for pointers: the target is stopped meanwhile."""
POINTED_BEFORE, POINTED_AFTER = 256, 768
"""Around each address found on a stack, as Windows does."""
THREAD_DATA_BEFORE, THREAD_DATA_AFTER = 1024, 3072
"""Around the thread pointer: its last thread-local variables, and glibc's struct pthread."""
_PAGE = 4096
_WORD = 8

IterChanged = Callable[[Region], Iterable[MemoryRange]]
"""Modified parts of a private file mapping."""


@dataclass(frozen=True)
class Choice:
    """``ranges``: in address order, disjoint, each inside readable mappings."""

    ranges: list[MemoryRange]
    stacks: list[MemoryRange]
    """The words of these are filtered, if requested."""

    @property
    def size(self) -> int:
        return sum(chosen.size for chosen in self.ranges)


def choose_memory(
    options: DumpOptions,
    threads: Iterable[Thread],
    regions: tuple[Region, ...],
    modules: tuple[Module, ...],
    known: list[MemoryRange],
    read: ReadMemory,
    iter_changed: IterChanged,
    soft_errors: list[str],
    secret: MemoryRange | None = None,
    *,
    crashing_tid: int | None = None,
) -> Choice:
    """``known``: the dynamic linker's list, without which debuggers find no library; Python's frames.

    ``secret``: never taken (the environment, at the end of the first stack). ``crashing_tid``: the
    thread that crashed, of which more is taken: its whole stack, and what its last calls worked on.
    """
    types = options.types
    if types & MinidumpType.FILTER_MODULE_PATHS:
        known = []  # it holds the names of all libraries
    if types & MinidumpType.WITH_FULL_MEMORY:
        reason_to_omit = _omission(options)
        full = _choose_full(regions, modules, reason_to_omit, iter_changed, soft_errors)
        return Choice(_without(_merge(list(full)), secret), [])
    with_optional = not types & MinidumpType.WITHOUT_OPTIONAL_DATA
    # By importance: what exceeds the budget is at the end.
    chosen = list(known)
    if with_optional or types & MinidumpType.WITH_MODULE_HEADERS:
        chosen += [MemoryRange(module.base, _PAGE) for module in modules]
    threads = list(threads)
    stacks = [
        part
        for thread in threads
        for part in _choose_stack(
            thread,
            regions,
            read,
            STRUCK_STACK_MAX if thread.tid == crashing_tid else STACK_MAX,
            soft_errors,
        )
    ]
    chosen += [MemoryRange(stack.address, min(stack.size, STACK_TOP)) for stack in stacks]
    is_filtered = bool(types & MinidumpType.FILTER_MEMORY)
    if with_optional:
        chosen += _choose_code(threads)
    if with_optional and not is_filtered:  # an argument may be text
        chosen += _choose_arguments(threads)
    struck = next((thread for thread in threads if thread.tid == crashing_tid), None)
    if struck is not None and with_optional and not is_filtered:
        chosen += _choose_last_work(struck, regions, read)
    chosen += stacks
    if types & MinidumpType.WITH_PROCESS_THREAD_DATA and not is_filtered:
        chosen += _choose_thread_data(threads)
    if types & MinidumpType.WITH_DATA_SEGS:
        chosen += _choose_globals(regions, soft_errors)
    if types & MinidumpType.WITH_INDIRECTLY_REFERENCED_MEMORY:
        chosen += _choose_pointed(stacks, threads, regions, read)
    chosen = _limit(chosen, FILTERED_MAX if is_filtered else TOTAL_MAX, soft_errors)
    reason_to_omit = _omission(options)
    allowed = tuple(region for region in regions if not reason_to_omit(region))
    chosen = _name_omitted(chosen, regions, reason_to_omit, soft_errors)
    chosen += _choose_whole(options, regions, iter_changed, soft_errors)
    ranges = _without(_merge(_clip(chosen, allowed)), secret)
    return Choice(ranges, stacks if is_filtered else [])


def _choose_stack(
    thread: Thread,
    regions: tuple[Region, ...],
    read: ReadMemory,
    most: int,
    soft_errors: list[str],
) -> list[MemoryRange]:
    """From the stack pointer on; for a thread in a signal handler on an alternate stack, both stacks."""
    if thread.registers is None:
        return []
    pointer = thread.registers.general["rsp"]
    stack = find_region(regions, pointer)
    if stack is None or not stack.readable:
        stack = _find_overflown(thread.registers, regions)
    if stack is None:
        soft_errors.append(
            f"thread {thread.tid}: its stack pointer {pointer:#x} is not in readable memory"
        )
        return []
    start = max(stack.start, (pointer - RED_ZONE) // _WORD * _WORD)
    size = stack.end - start
    if size > most:
        soft_errors.append(f"thread {thread.tid}: {most} of {size} bytes of its stack were taken")
        size = most
    return [MemoryRange(start, size), *_choose_interrupted_stack(thread, regions, stack, read)]


def _choose_interrupted_stack(
    thread: Thread, regions: tuple[Region, ...], stack: Region, read: ReadMemory
) -> list[MemoryRange]:
    """The stack under an alternate signal stack: the thread's own, from where it was interrupted.

    The kernel left the interrupted stack pointer on the alternate stack: it is among the words there
    that point into the thread's own stack.
    """
    assert thread.registers is not None
    thread_pointer = thread.registers.general["fs_base"]
    homes = _find_homes(thread.registers, regions)
    if stack in homes:
        return []
    pointer = thread.registers.general["rsp"]
    data = read(pointer, min(stack.end - pointer, POINTED_STACK_MAX))
    words = array("Q", data[: len(data) // _WORD * _WORD])
    found = []
    for home in homes:
        if not home.writable or home.shared:
            continue
        # Pointers above struct pthread belong to the C library's own lists, not to this stack.
        end = thread_pointer if home.start <= thread_pointer < home.end else home.end
        lowest = min((word for word in words if home.start <= word < end), default=None)
        if lowest is not None:
            start = max(home.start, (lowest - RED_ZONE) // _WORD * _WORD)
            found.append(MemoryRange(start, min(home.end - start, STACK_MAX)))
    return found


def _find_overflown(registers: Registers, regions: tuple[Region, ...]) -> Region | None:
    """The stack that has grown into its guard, or far below it by a frame of many megabytes."""
    pointer = registers.general["rsp"]
    above = next((r for r in regions if r.start >= pointer and r.readable), None)
    if above is not None and above.start - pointer <= OVERFLOW_MAX:
        return above
    homes = [r for r in _find_homes(registers, regions) if 0 < r.start - pointer <= FRAME_MAX]
    return min(homes, key=lambda home: home.start, default=None)


def _find_homes(registers: Registers, regions: tuple[Region, ...]) -> list[Region]:
    """What may be the thread's own stack: glibc's struct pthread lies at its top; the kernel
    names the stack of the first thread."""
    pointer = registers.general["fs_base"]
    home = find_region(regions, pointer) if pointer else None
    return [*([home] if home is not None else []), *(r for r in regions if r.path == "[stack]")]


def _choose_code(threads: list[Thread]) -> Iterator[MemoryRange]:
    for thread in threads:
        if thread.registers is not None:
            pc = thread.registers.general["rip"]
            yield MemoryRange(max(0, pc - CODE_AROUND_PC // 2), CODE_AROUND_PC)


def _choose_last_work(
    struck: Thread, regions: tuple[Region, ...], read: ReadMemory
) -> list[MemoryRange]:
    """What registers and the innermost frames of the crashed thread point to: its objects, an exception
    in flight, the C library's abort message."""
    if struck.registers is None:
        return []
    pointer = struck.registers.general["rsp"]
    stack = find_region(regions, pointer)
    end = min(stack.end, pointer + LAST_WORK_STACK) if stack is not None else pointer
    return _choose_pointed([MemoryRange(pointer, end - pointer)], [struck], regions, read)


def _choose_arguments(threads: list[Thread]) -> Iterator[MemoryRange]:
    """What the first argument of a system call points to: the lock that it waits for, with its owner."""
    for thread in threads:
        pointer = thread.registers.general["rdi"] if thread.registers else 0
        if pointer >= ARGUMENT_BEFORE:
            yield MemoryRange(pointer - ARGUMENT_BEFORE, ARGUMENT_BEFORE + ARGUMENT_AFTER)


def _choose_thread_data(threads: list[Thread]) -> Iterator[MemoryRange]:
    for thread in threads:
        pointer = thread.registers.general["fs_base"] if thread.registers else 0
        if pointer:
            start = max(0, pointer - THREAD_DATA_BEFORE)
            yield MemoryRange(start, pointer + THREAD_DATA_AFTER - start)


def _choose_globals(regions: tuple[Region, ...], soft_errors: list[str]) -> Iterator[MemoryRange]:
    """.data, .bss and RELRO: private writable parts of mapped files, and adjacent mappings."""
    for before, region, after in zip((None, *regions), regions, (*regions[1:], None), strict=False):
        is_bss = (
            before is not None
            and before.inode
            and before.end == region.start
            and not region.path
            and region.writable
        )
        is_data = region.inode and region.writable and not region.shared
        # Vtables and type information: relocated by the linker, and then made read-only.
        is_relro = (
            after is not None
            and region.inode
            and not (region.shared or region.executable or region.writable)
            and after.writable
            and (after.start, after.path) == (region.end, region.path)
            and after.file_offset == region.file_offset + region.size
        )
        if (is_data or is_bss or is_relro) and region.readable:
            size = min(region.size, DATA_REGION_MAX)
            if size < region.size:
                soft_errors.append(
                    f"{size} of {region.size} bytes of globals at {region.start:#x} were taken"
                )
            yield MemoryRange(region.start, size)


def _name_omitted(
    chosen: list[MemoryRange],
    regions: tuple[Region, ...],
    reason_to_omit: Callable[[Region], str],
    soft_errors: list[str],
) -> list[MemoryRange]:
    """``chosen``; what will be left out of it becomes a soft error."""
    for region in regions:
        reason = reason_to_omit(region)
        if reason and any(
            c.address < region.end and region.start < c.address + c.size for c in chosen
        ):
            soft_errors.append(_describe_omission(region, reason))
    return chosen


def _without(ranges: list[MemoryRange], secret: MemoryRange | None) -> list[MemoryRange]:
    if secret is None:
        return ranges
    kept = []
    for taken in ranges:
        end, secret_end = taken.address + taken.size, secret.address + secret.size
        if end <= secret.address or secret_end <= taken.address:
            kept.append(taken)
            continue
        if taken.address < secret.address:
            kept.append(MemoryRange(taken.address, secret.address - taken.address))
        if secret_end < end:
            kept.append(MemoryRange(secret_end, end - secret_end))
    return kept


def _choose_pointed(
    stacks: list[MemoryRange],
    threads: list[Thread],
    regions: tuple[Region, ...],
    read: ReadMemory,
) -> list[MemoryRange]:
    """The data that words of the stacks and registers point to."""
    words: set[int] = set()
    left = POINTED_STACKS_MAX
    for stack in stacks:
        data = read(stack.address, min(stack.size, POINTED_STACK_MAX, left))
        left -= len(data)
        words.update(array("Q", data[: len(data) // _WORD * _WORD]))
    for thread in threads:
        if thread.registers is not None:
            words.update(thread.registers.general.values())
    data_regions = [r for r in regions if _is_private_data(r)]
    chosen: list[MemoryRange] = []
    index = 0
    for word in sorted(words):
        while index < len(data_regions) and data_regions[index].end <= word:
            index += 1
        if index == len(data_regions):
            break
        region = data_regions[index]
        if word >= region.start:
            start = max(region.start, word - POINTED_BEFORE)
            chosen.append(MemoryRange(start, min(region.end, word + POINTED_AFTER) - start))
    return _merge(chosen)


def _choose_whole(
    options: DumpOptions,
    regions: tuple[Region, ...],
    iter_changed: IterChanged,
    soft_errors: list[str],
) -> Iterator[MemoryRange]:
    """Kinds of memory that are taken completely."""
    types, reason_to_omit = options.types, _omission(options)
    for region in regions:
        if not region.readable or region.path in UNREADABLE_PATHS:
            continue
        is_wanted = (types & MinidumpType.WITH_CODE_SEGS and region.executable) or (
            types & MinidumpType.WITH_PRIVATE_READ_WRITE_MEMORY and _is_private_data(region)
        )
        is_copied = (
            types & MinidumpType.WITH_PRIVATE_WRITE_COPY_MEMORY
            and region.inode
            and not region.shared
        )
        if not is_wanted and not is_copied:
            continue
        if reason := reason_to_omit(region):
            soft_errors.append(_describe_omission(region, reason))
        elif is_wanted:
            yield MemoryRange(region.start, region.size)
        else:
            yield from iter_changed(region)


def _choose_full(
    regions: tuple[Region, ...],
    modules: tuple[Module, ...],
    reason_to_omit: Callable[[Region], str],
    iter_changed: IterChanged,
    soft_errors: list[str],
) -> Iterator[MemoryRange]:
    module_bases = {module.base for module in modules}
    for region in regions:
        if not region.readable or region.path in UNREADABLE_PATHS:
            continue
        if reason := reason_to_omit(region):
            soft_errors.append(_describe_omission(region, reason))
        elif region.inode and not region.writable:
            # Read-only parts of files are in the files, except what was relocated or patched; the
            # first page identifies them.
            if region.start in module_bases:
                yield MemoryRange(region.start, min(region.size, _PAGE))
            if not region.shared:
                yield from iter_changed(region)
        else:
            yield MemoryRange(region.start, region.size)


def _describe_omission(region: Region, reason: str) -> str:
    return (
        f"{region.size} bytes at {region.start:#x} ({region.path or 'anonymous'}) "
        f"were left out: {reason}"
    )


def is_device(region: Region) -> bool:
    """Device memory: reading it may have side effects."""
    if region.vm_flags & {"io", "pf"}:
        return True
    is_below_dev = region.path.startswith("/dev/") and "ht" not in region.vm_flags
    return is_below_dev and not region.path.startswith(("/dev/shm/", "/dev/zero"))


def _omission(options: DumpOptions) -> Callable[[Region], str]:
    def reason_to_omit(region: Region) -> str:
        if "dd" in region.vm_flags and not options.include_dontdump:
            return "marked MADV_DONTDUMP by the program"
        return "device memory" if is_device(region) else ""

    return reason_to_omit


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
    spans = merge((r.address, r.address + r.size) for r in ranges if r.size > 0)
    return [MemoryRange(start, end - start) for start, end in spans]


def _limit(ranges: list[MemoryRange], most_bytes: int, soft_errors: list[str]) -> list[MemoryRange]:
    kept, total, omitted = [], 0, 0
    for wanted in ranges:
        size = min(wanted.size, most_bytes - total)
        omitted += wanted.size - size
        total += size
        if size > 0:
            kept.append(MemoryRange(wanted.address, size))
    if omitted:
        soft_errors.append(
            f"{omitted} bytes of memory were left out: over {most_bytes >> 20} MiB, take a full dump"
        )
    return kept
