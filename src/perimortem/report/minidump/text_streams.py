"""Streams that are texts of /proc and /etc. Pure."""

from __future__ import annotations

from perimortem.documents import dump_listing as documents
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile, StreamEntry
from perimortem.report.minidump.describing import Describe, decode_lines, list_head
from perimortem.text import printable

_TEXT_MAX = 256 << 10


def _describe_text(dump: MinidumpFile, entry: StreamEntry, _limit: int | None) -> documents.Stream:
    dump.check_bytes(entry.rva, entry.size)
    text = decode_lines(dump.read_bytes(entry.rva, min(entry.size, _TEXT_MAX)))
    return documents.Text(*list_head(entry), text=text)


def _describe_environment(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    """Names only: values may hold passwords."""
    raw = dump.read_stream(entry)
    names = [
        printable(pair.partition(b"=")[0].decode("utf-8", "backslashreplace"))
        for pair in raw.split(b"\0")
        if pair
    ]
    return documents.Environment(*list_head(entry), count=len(names), variables=names[:limit])


TEXT_STREAMS: dict[int, Describe] = {
    StreamType.LinuxEnviron: _describe_environment,
    **dict.fromkeys(
        (
            StreamType.LinuxCpuInfo,
            StreamType.LinuxProcStatus,
            StreamType.LinuxLsbRelease,
            StreamType.LinuxCmdLine,
            StreamType.LinuxMaps,
            StreamType.MozLinuxLimits,
            StreamType.FacebookAppVersionName,
            StreamType.FacebookAbortReason,
            StreamType.FacebookThreadName,
            StreamType.FacebookJavaStack,
            StreamType.FacebookDumpErrorLog,
        ),
        _describe_text,
    ),
}
