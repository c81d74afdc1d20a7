"""ExceptionStream: the signal and the context of the crashing thread."""

from __future__ import annotations

import struct

from perimortem.minidump.format import (
    EXCEPTION_PARAMETERS,
    Location,
    RawException,
    StreamType,
)
from perimortem.minidump.streams.writing import DumpPlan


def write_exception(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    exception = plan.snapshot.exception
    if exception is None:
        return None
    parameters = exception.parameters[:EXCEPTION_PARAMETERS]
    record = RawException(
        thread_id=exception.tid,
        alignment=0,
        code=exception.code,
        flags=exception.flags,
        record=0,
        address=exception.address,
        parameter_count=len(parameters),
        alignment2=0,
    )
    context = plan.contexts.get(exception.tid, Location(0, 0))
    padded = struct.pack(
        f"<{EXCEPTION_PARAMETERS}Q", *parameters, *([0] * (EXCEPTION_PARAMETERS - len(parameters)))
    )
    return StreamType.ExceptionStream, record.to_bytes() + padded + context.to_bytes()
