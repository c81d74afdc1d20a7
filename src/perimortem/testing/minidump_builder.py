"""A minidump from its streams: header, directory, and what the streams point to."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import dataclass

_HEADER = struct.Struct("<4sIIIIIQ")
_ENTRY = struct.Struct("<III")
_VERSION = 0xA793
UNUSED_STREAM = 0


class DumpBody:
    """What follows the directory. Each place is an RVA: its distance from the start of the file."""

    def __init__(self, start: int, tail_start: int) -> None:
        """``tail_start``: where the tail will lie; see :func:`build_minidump`."""
        self._start, self._tail_start = start, tail_start
        self._data, self._tail = bytearray(), bytearray()
        self._placed: dict[bytes, int] = {}

    @property
    def end(self) -> int:
        """Where the tail begins."""
        return self._start + len(self._data)

    def to_bytes(self) -> bytes:
        return bytes(self._data + self._tail)

    def place(self, data: bytes) -> int:
        """At the next multiple of 4."""
        self._data += bytes(-self.end % 4)
        rva = self.end
        self._data += data
        return rva

    def place_once(self, data: bytes) -> int:
        """Like :meth:`place`; the same bytes again have the same place, as a stack in two lists has."""
        if data not in self._placed:
            self._placed[data] = self.place(data)
        return self._placed[data]

    def append(self, data: bytes) -> int:
        """At the very end of the file, without alignment: DbgHelp puts memory there."""
        rva = self._tail_start + len(self._tail)
        self._tail += data
        return rva

    def append_once(self, data: bytes) -> int:
        """Like :meth:`append`, and the same bytes only once."""
        if data not in self._placed:
            self._placed[data] = self.append(data)
        return self._placed[data]

    def place_string(self, text: str) -> int:
        """MINIDUMP_STRING: the length in bytes, UTF-16, a zero that the length does not count."""
        raw = text.encode("utf-16-le")
        return self.place(struct.pack("<I", len(raw)) + raw + b"\0\0")

    def place_utf8(self, text: str) -> int:
        """MinidumpUTF8String of Crashpad: the same in UTF-8."""
        raw = text.encode()
        return self.place(struct.pack("<I", len(raw)) + raw + b"\0")


@dataclass(frozen=True)
class DumpStream:
    """``make`` gives the stream's bytes, and places what they point to."""

    type: int
    make: Callable[[DumpBody], bytes]


def build_minidump(
    streams: Sequence[DumpStream | None],
    *,
    taken_at_s: int,
    flags: int = 0,
    implementation_version: int = 0,
) -> bytes:
    """The file. None is an entry of the directory that its writer has left unused.

    ``implementation_version``: the high half of the version, which DbgHelp fills with its own.
    """
    start = _HEADER.size + len(streams) * _ENTRY.size
    tail_start = 0
    # Streams refer to places in the tail, which starts after the last of them: the first round finds it.
    for _ in range(2):
        body = DumpBody(start, tail_start)
        directory = b"".join(_add_stream(stream, body) for stream in streams)
        tail_start = body.end
    version = implementation_version << 16 | _VERSION
    header = _HEADER.pack(
        b"MDMP", version, len(streams), _HEADER.size, 0, taken_at_s & 0xFFFFFFFF, flags
    )
    return header + directory + body.to_bytes()


def _add_stream(stream: DumpStream | None, body: DumpBody) -> bytes:
    if stream is None:
        return _ENTRY.pack(UNUSED_STREAM, 0, 0)
    data = stream.make(body)
    return _ENTRY.pack(stream.type, len(data), body.place(data))
