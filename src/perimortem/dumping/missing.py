"""What was requested of a dump and is not in it, read back from the file itself."""

from __future__ import annotations

from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile
from perimortem.model.dump import MinidumpType

_WANTED = (
    (MinidumpType.WITH_FULL_MEMORY, StreamType.Memory64ListStream, "full memory"),
    (MinidumpType.WITH_HANDLE_DATA, StreamType.HandleDataStream, "handle data"),
    (MinidumpType.WITH_UNLOADED_MODULES, StreamType.UnloadedModuleListStream, "unloaded modules"),
    (MinidumpType.WITH_FULL_MEMORY_INFO, StreamType.MemoryInfoListStream, "memory information"),
    (MinidumpType.WITH_THREAD_INFO, StreamType.ThreadInfoListStream, "thread information"),
    (MinidumpType.WITH_TOKEN_INFORMATION, StreamType.TokenStream, "token information"),
)
_ALWAYS = (
    (StreamType.ThreadListStream, "threads"),
    (StreamType.ModuleListStream, "modules"),
    (StreamType.SystemInfoStream, "system information"),
)


def find_missing(dump: MinidumpFile, types: MinidumpType) -> list[str]:
    """One line per missing stream: "handle data requested, not written"."""
    present = {entry.type for entry in dump.streams}
    wanted = [(stream, words) for flag, stream, words in _WANTED if types & flag]
    return [
        f"{words} requested, not written"
        for stream, words in (*_ALWAYS, *wanted)
        if stream not in present
    ]
