"""The interface of the stream describers, and their helpers. Pure."""

from __future__ import annotations

from collections.abc import Callable

from perimortem.clock import format_rfc3339
from perimortem.documents.dump_listing import Stream
from perimortem.minidump.reader import MinidumpFile, StreamEntry
from perimortem.text import printable

Describe = Callable[[MinidumpFile, StreamEntry, int | None], Stream]
"""describe(dump, entry, limit): a stream with its content; lists with at most ``limit`` rows."""

_FILETIME_EPOCH_S = 11_644_473_600
"""1601-01-01 to 1970-01-01."""


def list_head(entry: StreamEntry) -> tuple[int, int, str, int, int]:
    """What every stream begins with."""
    return entry.index, entry.type, entry.name, entry.size, entry.rva


def format_filetime(value: int) -> str | None:
    """100 ns since 1601 as RFC 3339; None for zero and for dates outside the calendar."""
    seconds = value // 10_000_000 - _FILETIME_EPOCH_S
    if value == 0 or not 0 <= seconds < 1 << 36:
        return None
    return format_rfc3339(seconds * 1_000_000_000 + value % 10_000_000 * 100)


def decode_utf16(raw: bytes) -> str:
    """Up to the first zero, printable."""
    return printable(raw[: len(raw) // 2 * 2].decode("utf-16-le", "replace").split("\0", 1)[0])


def decode_lines(raw: bytes) -> str:
    """Multi-line text; NULs, as between the arguments of a command line, become spaces."""
    text = raw.replace(b"\0", b" ").decode("utf-8", "backslashreplace")
    return "\n".join(printable(line) for line in text.expandtabs(8).splitlines())
