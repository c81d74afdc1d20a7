"""HandleDataStream: open descriptors with type and name."""

from __future__ import annotations

import json

from perimortem.minidump.format import (
    HANDLE_DETAILS,
    HandleDataHeader,
    HandleDescriptor2,
    HandleObjectInformation,
    StreamType,
)
from perimortem.minidump.streams.writing import DumpPlan
from perimortem.model.snapshot import Handle


def write_handles(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    handles = plan.snapshot.handles
    if handles is None:
        return None
    header = HandleDataHeader(HandleDataHeader.size(), HandleDescriptor2.size(), len(handles), 0)
    type_rvas = {
        name: plan.body.put_string(name) for name in sorted({h.type_name for h in handles})
    }
    parts = [header.to_bytes()]
    for handle in handles:
        record = HandleDescriptor2(
            handle=handle.number,
            type_name_rva=type_rvas[handle.type_name],
            object_name_rva=plan.body.put_string(handle.object_name),
            attributes=0,
            granted_access=handle.flags & 0xFFFFFFFF,  # the flags of open(2)
            handle_count=1,
            pointer_count=0,
            object_info_rva=_put_details(plan, handle),
            reserved0=0,
        )
        parts.append(record.to_bytes())
    return StreamType.HandleDataStream, b"".join(parts)


def _put_details(plan: DumpPlan, handle: Handle) -> int:
    """What the kernel says of a descriptor, as one object information of a type of our own: JSON."""
    if not handle.details:
        return 0
    text = json.dumps(handle.details).encode("ascii")
    info = HandleObjectInformation(0, HANDLE_DETAILS, len(text))
    return plan.body.put(info.to_bytes() + text).rva
