"""ThreadInfoListStream: times and affinity."""

from __future__ import annotations

from perimortem.minidump.format import EntryListHeader, StreamType, ThreadInfo
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.dump import MinidumpType


def write_thread_info(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    if not plan.types & MinidumpType.WITH_THREAD_INFO:
        return None
    threads = plan.snapshot.threads
    header = EntryListHeader(EntryListHeader.size(), ThreadInfo.size(), len(threads))
    entries = (
        ThreadInfo(
            thread_id=thread.tid,
            dump_flags=0 if thread.registers else 0x10,  # MINIDUMP_THREAD_INFO_INVALID_CONTEXT
            dump_error=0,
            exit_status=0x103,  # STILL_ACTIVE
            create_time=thread.start_time_100ns,
            exit_time=0,
            kernel_time=thread.kernel_time_100ns,
            user_time=thread.user_time_100ns,
            start_address=thread.start_address,
            affinity=thread.affinity,
        )
        for thread in threads
    )
    data = header.to_bytes() + b"".join(entry.to_bytes() for entry in entries)
    return StreamType.ThreadInfoListStream, data
