"""ThreadListStream: each thread with its registers and its stack."""

from __future__ import annotations

import struct

from perimortem.minidump.context import write_context
from perimortem.minidump.format import Location, MemoryDescriptor, RawThread, StreamType
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.snapshot import Thread

_OVERFLOW_MAX = 1 << 20
_NOWHERE = MemoryDescriptor(0, 0, 0)


def write_threads(plan: DumpPlan) -> tuple[StreamType, bytes]:
    threads = plan.snapshot.threads
    crashed = plan.snapshot.exception.tid if plan.snapshot.exception else None
    ordered = sorted(threads, key=lambda thread: thread.tid != crashed)  # the crashed one first
    raw = b"".join(_write_thread(plan, thread).to_bytes() for thread in ordered)
    return StreamType.ThreadListStream, struct.pack("<I", len(ordered)) + raw


def _write_thread(plan: DumpPlan, thread: Thread) -> RawThread:
    context, stack, teb = Location(0, 0), _NOWHERE, 0
    if thread.registers is not None:
        context = plan.body.put(write_context(thread.registers), align=16)
        plan.contexts[thread.tid] = context
        general = thread.registers.general
        stack = _find_stack(plan, general["rsp"])
        teb = general["fs_base"]  # where the thread's own data begin, as the TEB on Windows
    return RawThread(
        thread_id=thread.tid,
        suspend_count=0,
        priority_class=0,
        priority=thread.priority & 0xFFFFFFFF,
        teb=teb,
        stack=stack,
        context_size=context.data_size if thread.registers else 0,
        context_rva=context.rva,
    )


def _find_stack(plan: DumpPlan, stack_pointer: int) -> MemoryDescriptor:
    """The range of the dump that holds the stack; with full memory readers look in that."""
    for memory in plan.memory:
        if memory.address <= stack_pointer < memory.address + memory.data_size:
            return memory
    # It has run over its end: its frames begin above.
    above = [m for m in plan.memory if 0 <= m.address - stack_pointer <= _OVERFLOW_MAX]
    nearest = min(above, key=lambda memory: memory.address, default=None)
    return nearest or MemoryDescriptor(stack_pointer, 0, 0)
