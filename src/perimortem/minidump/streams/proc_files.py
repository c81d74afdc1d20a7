"""Streams that are verbatim files of /proc. The environment is left out: it holds secrets."""

from __future__ import annotations

from perimortem.minidump.format import StreamType
from perimortem.minidump.streams.writing import DumpPlan, StreamWriter

_FILES = {
    "status": StreamType.LinuxProcStatus,
    "cmdline": StreamType.LinuxCmdLine,
    "auxv": StreamType.LinuxAuxv,
    "maps": StreamType.LinuxMaps,
    "limits": StreamType.MozLinuxLimits,
}


def _file_stream(name: str, stream_type: StreamType) -> StreamWriter:
    def write(plan: DumpPlan) -> tuple[StreamType, bytes] | None:
        data = plan.snapshot.files.get(name)
        return (stream_type, data) if data else None

    return write


PROC_FILE_STREAMS = tuple(_file_stream(name, kind) for name, kind in _FILES.items())
