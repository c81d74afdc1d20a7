"""ThreadNamesStream."""

from __future__ import annotations

import struct

from perimortem.minidump.format import StreamType, ThreadNameEntry
from perimortem.minidump.streams.writing import DumpPlan


def write_thread_names(plan: DumpPlan) -> tuple[StreamType, bytes]:
    named = [thread for thread in plan.snapshot.threads if thread.name]
    entries = (
        ThreadNameEntry(thread.tid, plan.body.put_string(thread.name)).to_bytes()
        for thread in named
    )
    return StreamType.ThreadNamesStream, struct.pack("<I", len(named)) + b"".join(entries)
