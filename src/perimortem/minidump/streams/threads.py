"""ThreadListStream: each thread with its registers and its stack."""

from __future__ import annotations

import struct
from bisect import bisect_right

from perimortem.minidump.format import Location, MemoryDescriptor, RawThread
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.snapshot import Thread

_OVERFLOW_MAX = 1 << 20
_NOWHERE = MemoryDescriptor(0, 0, 0)


def write_threads(plan: DumpPlan) -> bytes:
    """Written last: only now it is known where the stacks are."""
    threads = plan.snapshot.threads
    crashed = plan.snapshot.exception.tid if plan.snapshot.exception else None
    ordered = sorted(threads, key=lambda thread: thread.tid != crashed)  # the crashed one first
    starts = [memory.address for memory in plan.memory]
    raw = b"".join(_write_thread(plan, thread, starts).to_bytes() for thread in ordered)
    return struct.pack("<I", len(ordered)) + raw


def _write_thread(plan: DumpPlan, thread: Thread, starts: list[int]) -> RawThread:
    context, stack, teb = plan.contexts.get(thread.tid, Location(0, 0)), _NOWHERE, 0
    if thread.registers is not None:
        general = thread.registers.general
        stack = _find_stack(plan, starts, general["rsp"])
        teb = general["fs_base"]  # where the thread's own data begin, as the TEB on Windows
    return RawThread(
        thread_id=thread.tid,
        suspend_count=0,
        priority_class=0,
        priority=thread.priority & 0xFFFFFFFF,
        teb=teb,
        stack=stack,
        context_size=context.data_size,
        context_rva=context.rva,
    )


def _find_stack(plan: DumpPlan, starts: list[int], stack_pointer: int) -> MemoryDescriptor:
    """The range of the dump that holds the stack; with full memory readers look in that."""
    index = bisect_right(starts, stack_pointer) - 1
    if index >= 0:
        memory = plan.memory[index]
        if stack_pointer < memory.address + memory.data_size:
            return memory
    # It has run over its end: its frames begin above.
    if index + 1 < len(starts) and starts[index + 1] - stack_pointer <= _OVERFLOW_MAX:
        return plan.memory[index + 1]
    return MemoryDescriptor(stack_pointer, 0, 0)
