"""Dumps: options and results."""

from __future__ import annotations

from dataclasses import dataclass
from enum import IntFlag, StrEnum


class MinidumpType(IntFlag):
    """MINIDUMP_TYPE of minidumpapiset.h; the names without their MiniDump prefix."""

    NORMAL = 0
    WITH_DATA_SEGS = 0x00000001
    WITH_FULL_MEMORY = 0x00000002
    WITH_HANDLE_DATA = 0x00000004
    FILTER_MEMORY = 0x00000008
    SCAN_MEMORY = 0x00000010
    WITH_UNLOADED_MODULES = 0x00000020
    WITH_INDIRECTLY_REFERENCED_MEMORY = 0x00000040
    FILTER_MODULE_PATHS = 0x00000080
    WITH_PROCESS_THREAD_DATA = 0x00000100
    WITH_PRIVATE_READ_WRITE_MEMORY = 0x00000200
    WITHOUT_OPTIONAL_DATA = 0x00000400
    WITH_FULL_MEMORY_INFO = 0x00000800
    WITH_THREAD_INFO = 0x00001000
    WITH_CODE_SEGS = 0x00002000
    WITHOUT_AUXILIARY_STATE = 0x00004000
    WITH_FULL_AUXILIARY_STATE = 0x00008000
    WITH_PRIVATE_WRITE_COPY_MEMORY = 0x00010000
    IGNORE_INACCESSIBLE_MEMORY = 0x00020000
    WITH_TOKEN_INFORMATION = 0x00040000
    WITH_MODULE_HEADERS = 0x00080000
    FILTER_TRIAGE = 0x00100000
    WITH_AVX_XSTATE_CONTEXT = 0x00200000
    WITH_IPT_TRACE = 0x00400000
    SCAN_INACCESSIBLE_PARTIAL_PAGES = 0x00800000
    FILTER_WRITE_COMBINED_MEMORY = 0x01000000


MINI = (
    MinidumpType.WITH_DATA_SEGS
    | MinidumpType.WITH_HANDLE_DATA
    | MinidumpType.WITH_PROCESS_THREAD_DATA
    | MinidumpType.WITH_THREAD_INFO
)
"""0x1105, the everyday dump: threads, stacks, modules, globals, handles."""

FULL = MINI | MinidumpType.WITH_FULL_MEMORY | MinidumpType.WITH_FULL_MEMORY_INFO
"""All readable private memory, besides the contents of MINI."""

MINIPLUS = (
    MINI
    | MinidumpType.WITH_INDIRECTLY_REFERENCED_MEMORY
    | MinidumpType.WITH_PRIVATE_READ_WRITE_MEMORY
    | MinidumpType.WITH_FULL_MEMORY_INFO
    | MinidumpType.WITH_TOKEN_INFORMATION
)
"""Writable private memory, and all streams other than memory."""

TRIAGE = (
    MinidumpType.FILTER_MEMORY
    | MinidumpType.FILTER_MODULE_PATHS
    | MinidumpType.FILTER_TRIAGE
    | MinidumpType.WITH_HANDLE_DATA
    | MinidumpType.WITH_PROCESS_THREAD_DATA
    | MinidumpType.WITH_THREAD_INFO
)
"""Stacks reduced to what unwinding needs, no paths, no globals: safe to share."""

BULK_TYPES = (
    MinidumpType.WITH_FULL_MEMORY
    | MinidumpType.WITH_PRIVATE_READ_WRITE_MEMORY
    | MinidumpType.WITH_PRIVATE_WRITE_COPY_MEMORY
    | MinidumpType.WITH_CODE_SEGS
)
"""With these a dump may be as large as the process."""

NAMED_TYPES = {"mini": MINI, "miniplus": MINIPLUS, "triage": TRIAGE, "full": FULL}
"""By procdump's names (-mm, -mp, -mt, -ma)."""


class Pause(StrEnum):
    """What a dump may do to its target."""

    STOP = "stop"
    """Frozen while memory is copied."""
    SNAPSHOT = "snapshot"
    """Frozen while it is cloned; memory is copied from the clone while it runs."""
    NONE = "none"
    """Never stopped, never attached to; memory is read while it changes."""


class DumpFormat(StrEnum):
    """Of the file."""

    MINIDUMP = "minidump"
    CORE = "core"


@dataclass(frozen=True)
class DumpOptions:
    """How to take a dump."""

    types: MinidumpType = MINI
    pause: Pause = Pause.STOP
    format: DumpFormat = DumpFormat.MINIDUMP
    compress: bool = False
    """With zstd, in seekable frames."""
    include_dontdump: bool = False
    """Include memory that the program marked MADV_DONTDUMP: keys, guest memory."""


@dataclass(frozen=True)
class DumpResult:
    """A dump that was written, or why none was (``path`` is None)."""

    path: str | None
    types: MinidumpType
    size_bytes: int
    target_paused_ms: float
    thread_count: int
    soft_errors: tuple[str, ...]
    error: str | None = None
    pause: Pause = Pause.STOP
    """The mode used; if it differs from the request, a soft error says why."""
    worker_failure: str | None = None
    """How a worker died in a first attempt."""


def format_flags(types: int) -> list[str]:
    """The set flags by their Windows names; unknown bits as hex."""
    names = []
    rest = types
    for flag in MinidumpType:
        if types & flag and flag:
            names.append("MiniDump" + _camel(flag.name or ""))
            rest &= ~flag
    if rest:
        names.append(f"unknown bits {rest:#x}")
    return names or ["MiniDumpNormal"]


_WORDS = {"XSTATE": "XState", "IPT": "Ipt"}


def _camel(name: str) -> str:
    return "".join(_WORDS.get(word, word.capitalize()) for word in name.split("_"))
