"""A minidump as a document: what ``inspect`` shows. Pure.

A damaged stream says why; the others are still read. Data that were requested (the
header's flags) and are absent are listed in ``missing``; overlapping and duplicate data in
``problems``. Only the rows that are shown are built.
"""

from __future__ import annotations

from perimortem.clock import format_rfc3339
from perimortem.documents import dump_listing as documents
from perimortem.errors import MalformedInput
from perimortem.minidump.format import Directory, Header, StreamType
from perimortem.minidump.reader import MinidumpFile, StreamEntry
from perimortem.model.dump import MinidumpType, format_flags
from perimortem.report.minidump.describing import list_head
from perimortem.report.minidump.foreign_streams import FOREIGN_STREAMS
from perimortem.report.minidump.own_streams import OWN_STREAMS
from perimortem.report.minidump.sdk_streams import SDK_STREAMS
from perimortem.report.minidump.text_streams import TEXT_STREAMS

_EXPECTED = {
    MinidumpType.WITH_FULL_MEMORY: StreamType.Memory64ListStream,
    MinidumpType.WITH_HANDLE_DATA: StreamType.HandleDataStream,
    MinidumpType.WITH_UNLOADED_MODULES: StreamType.UnloadedModuleListStream,
    MinidumpType.WITH_FULL_MEMORY_INFO: StreamType.MemoryInfoListStream,
    MinidumpType.WITH_THREAD_INFO: StreamType.ThreadInfoListStream,
    MinidumpType.WITH_TOKEN_INFORMATION: StreamType.TokenStream,
    MinidumpType.WITH_IPT_TRACE: StreamType.IptTraceStream,
}
_PROBLEMS_MAX = 100
_SHARED_MAX = 2
_DESCRIBERS = {**SDK_STREAMS, **FOREIGN_STREAMS, **OWN_STREAMS, **TEXT_STREAMS}


def describe_dump(
    dump: MinidumpFile, *, limit: int | None = None, only: set[int] | None = None
) -> documents.DumpListing:
    """Header, streams in directory order, what is missing and what is wrong.

    ``limit``: rows per list; ``only``: stream types.
    """
    header = dump.header
    return documents.DumpListing(
        size_bytes=dump.size,
        version=f"{header.version & 0xFFFF:04X} ({header.version >> 16:04X})",
        stream_count=header.stream_count,
        created_at=format_rfc3339(header.time_date_stamp * 1_000_000_000),
        flags=documents.Flags(f"{header.flags:#x}", list(format_flags(header.flags))),
        streams=_describe_streams(dump, limit, only),
        missing=_describe_missing(dump),
        problems=_describe_problems(dump),
    )


def _describe_streams(
    dump: MinidumpFile, limit: int | None, only: set[int] | None
) -> list[documents.Stream]:
    """Overlapping streams could have the same bytes listed without end."""
    left = _SHARED_MAX * dump.size
    streams: list[documents.Stream] = []
    for entry in dump.streams:
        if only is not None and entry.type not in only:
            continue
        left -= entry.size
        if left < 0:
            error = "not listed: all streams together claim more bytes than the file has"
            streams.append(documents.DamagedStream(*list_head(entry), error=error))
        else:
            streams.append(_describe_stream(dump, entry, limit))
    return streams


def find_stream_type(dump: MinidumpFile, text: str) -> int | None:
    """By name, with or without the suffix "Stream", or by number; None if there is no such stream."""
    try:
        return int(text, 0)
    except ValueError:
        wanted = text.lower()
    for entry in dump.streams:
        name = entry.name.lower()
        if wanted in (name, name.removesuffix("stream"), name.removesuffix("liststream")):
            return entry.type
    return next((int(kind) for kind in StreamType if kind.name.lower() == wanted), None)


def _describe_stream(dump: MinidumpFile, entry: StreamEntry, limit: int | None) -> documents.Stream:
    unknown = documents.Stream(*list_head(entry))
    if entry.size == 0 and entry.type == StreamType.UnusedStream:
        return unknown
    try:
        describe = _DESCRIBERS.get(entry.type)
        if describe is not None:
            return describe(dump, entry, limit)
        dump.check_bytes(entry.rva, entry.size)
    except MalformedInput as error:
        return documents.DamagedStream(*list_head(entry), error=str(error))
    return unknown


def _describe_missing(dump: MinidumpFile) -> list[str]:
    present = {entry.type for entry in dump.streams}
    return [
        f"{format_flags(flag)[0]} was requested, but there is no {stream.name}"
        for flag, stream in _EXPECTED.items()
        if dump.header.flags & flag and stream not in present
    ]


def _describe_problems(dump: MinidumpFile) -> list[str]:
    """Streams that share bytes with the header or with each other, and types that occur twice."""
    problems = []
    directory_end = dump.header.stream_directory_rva + len(dump.streams) * Directory.size()
    places = [(0, Header.size(), "the header")] if dump.streams else []
    if dump.streams:
        places.append((dump.header.stream_directory_rva, directory_end, "the stream directory"))
    places += [
        (e.rva, e.rva + e.size, f"stream {e.index} ({e.name})") for e in dump.streams if e.size
    ]
    end, last = 0, ""
    for start, stop, name in sorted(places):
        if start < end:
            problems.append(f"{name} overlaps {last}")
        if stop > end:
            end, last = stop, name
    seen: set[int] = set()
    for entry in dump.streams:
        if entry.type in seen and entry.type != StreamType.UnusedStream:
            problems.append(f"stream {entry.index}: a second {entry.name}; readers use the first")
        seen.add(entry.type)
    return problems[:_PROBLEMS_MAX]
