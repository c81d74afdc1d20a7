"""MiscInfoStream: pid and process times."""

from __future__ import annotations

from perimortem.minidump.format import (
    MISC1_PROCESS_ID,
    MISC1_PROCESS_TIMES,
    MiscInfo,
    StreamType,
)
from perimortem.minidump.streams.writing import DumpPlan


def write_misc_info(plan: DumpPlan) -> tuple[StreamType, bytes]:
    snapshot = plan.snapshot
    record = MiscInfo(
        size_of_info=MiscInfo.size(),
        flags1=MISC1_PROCESS_ID | MISC1_PROCESS_TIMES,
        process_id=snapshot.pid,
        process_create_time=snapshot.process_create_time_s & 0xFFFFFFFF,
        process_user_time=snapshot.user_time_s & 0xFFFFFFFF,
        process_kernel_time=snapshot.kernel_time_s & 0xFFFFFFFF,
    )
    return StreamType.MiscInfoStream, record.to_bytes()
