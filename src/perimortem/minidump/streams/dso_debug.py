"""LinuxDsoDebug (Breakpad): the dynamic linker's list, from which debuggers find libraries."""

from __future__ import annotations

from perimortem.minidump.extensions import RawDsoDebug, RawLinkMap
from perimortem.minidump.format import StreamType
from perimortem.minidump.streams.writing import DumpPlan


def write_dso_debug(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
    dso = plan.snapshot.dso_debug
    if dso is None:
        return None
    maps = b"".join(
        RawLinkMap(entry.base, plan.body.put_string(entry.name), entry.dynamic).to_bytes()
        for entry in dso.objects
    )
    record = RawDsoDebug(
        version=dso.version,
        map_rva=plan.body.put(maps).rva,
        dso_count=len(dso.objects),
        brk=0,
        loader_base=dso.loader_base,
        dynamic=dso.dynamic,
    )
    return StreamType.LinuxDsoDebug, record.to_bytes() + dso.dynamic_bytes
