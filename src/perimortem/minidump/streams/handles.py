"""HandleDataStream: open descriptors with type and name."""

from __future__ import annotations

import json

from perimortem.minidump.format import (
    HandleDataHeader,
    HandleDescriptor2,
    StreamType,
)
from perimortem.minidump.streams.writing import DumpPlan


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
            object_info_rva=0,
            reserved0=0,
        )
        parts.append(record.to_bytes())
    return StreamType.HandleDataStream, b"".join(parts)


def write_handle_details(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    """PerimortemHandles, our own: JSON by handle. MINIDUMP_HANDLE_OBJECT_INFORMATION has a place for
    such things, but some readers abort on a type that they do not know."""
    handles = plan.snapshot.handles
    details = {str(handle.number): handle.details for handle in handles or () if handle.details}
    if not details:
        return None
    return StreamType.PerimortemHandles, json.dumps(details).encode("ascii")
