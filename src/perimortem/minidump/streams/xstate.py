"""PerimortemXstate, our own: each thread's XSAVE area as the kernel gave it (NT_X86_XSTATE).

CONTEXT has no room for AVX; Windows puts it behind CONTEXT in a form that few readers know.
"""

from __future__ import annotations

import struct

from perimortem.minidump.extensions import XstateEntry
from perimortem.minidump.format import StreamType
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.dump import MinidumpType


def write_xstate(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    if not plan.types & MinidumpType.WITH_AVX_XSTATE_CONTEXT:
        return None
    entries = []
    for thread in plan.snapshot.threads:
        if thread.registers is not None and thread.registers.extended:
            place = plan.body.put(thread.registers.extended, align=64)
            entries.append(XstateEntry(thread.tid, place.data_size, place.rva).to_bytes())
    if not entries:
        return None
    return StreamType.PerimortemXstate, struct.pack("<I", len(entries)) + b"".join(entries)
