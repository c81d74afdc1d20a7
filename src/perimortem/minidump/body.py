"""The growing part of a dump: everything but the bulk of memory."""

from __future__ import annotations

import struct

from perimortem.minidump.format import Location


class Body:
    """Bytes with their final offsets (RVA): each ``put`` is 8-aligned."""

    def __init__(self, reserved: int) -> None:
        """``reserved`` bytes stay free at the start, for header and directory."""
        self._bytes = bytearray(reserved)

    def __len__(self) -> int:
        return len(self._bytes)

    def put(self, data: bytes, *, align: int = 8) -> Location:
        """Append; where it went."""
        self._bytes += bytes(-len(self._bytes) % align)
        rva = len(self._bytes)
        self._bytes += data
        return Location(data_size=len(data), rva=rva)

    def put_string(self, text: str) -> int:
        """MINIDUMP_STRING: byte length, UTF-16, a zero. Returns its RVA."""
        encoded = text.encode("utf-16-le", "surrogatepass")
        return self.put(struct.pack("<I", len(encoded)) + encoded + b"\0\0", align=4).rva

    def patch(self, offset: int, data: bytes) -> None:
        self._bytes[offset : offset + len(data)] = data

    def view(self) -> memoryview:
        """All of it, as in the file; nothing may be added while this is held."""
        return memoryview(self._bytes)
