"""PerimortemRecord, our own: what the flight recorder held, as JSON."""

from __future__ import annotations

import json

from perimortem.minidump.format import StreamType
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.dump import MinidumpType


def write_record(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    """MiniDumpWithoutAuxiliaryState leaves it out."""
    record = plan.snapshot.record
    if record is None or plan.types & MinidumpType.WITHOUT_AUXILIARY_STATE:
        return None
    return StreamType.PerimortemRecord, json.dumps(record).encode("ascii")
