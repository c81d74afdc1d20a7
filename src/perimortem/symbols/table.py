"""Functions of one image by address. Pure."""

from __future__ import annotations

import struct
import sys
from array import array
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from perimortem.errors import MalformedInput

_MAGIC = b"PMSYM\0\0\x01"
_HEAD = struct.Struct("<8sQQ")


class Function(NamedTuple):
    """``size`` 0: unknown, it extends to the next one."""

    start: int
    size: int
    name: str


class SymbolTable:
    """Sorted functions. Addresses are the image's own."""

    def __init__(
        self, starts: array[int], sizes: array[int], ends: array[int], names: bytes
    ) -> None:
        """``names`` are concatenated; ``ends``: where each one ends."""
        self._starts, self._sizes, self._ends, self._names = starts, sizes, ends, names

    def __len__(self) -> int:
        return len(self._starts)

    def find(self, address: int) -> Function | None:
        """The function around ``address``."""
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        start, size = self._starts[index], self._sizes[index]
        if size and address >= start + size:
            return None
        first = self._ends[index - 1] if index else 0
        name = self._names[first : self._ends[index]]
        return Function(start, size, name.decode("utf-8", "backslashreplace"))

    def __iter__(self) -> Iterator[Function]:
        """In order of address."""
        first = 0
        for start, size, end in zip(self._starts, self._sizes, self._ends, strict=True):
            yield Function(start, size, self._names[first:end].decode("utf-8", "backslashreplace"))
            first = end

    def to_bytes(self) -> bytes:
        """As :meth:`from_bytes` takes it."""
        head = _HEAD.pack(_MAGIC, len(self._starts), len(self._names))
        columns = [array(c.typecode, c) for c in (self._starts, self._sizes, self._ends)]
        if sys.byteorder == "big":
            for column in columns:
                column.byteswap()
        return head + b"".join(column.tobytes() for column in columns) + self._names

    @classmethod
    def from_bytes(cls, data: bytes) -> SymbolTable:
        """Raises MalformedInput for anything not written by :meth:`to_bytes`."""
        if len(data) < _HEAD.size:
            raise MalformedInput("not a table of symbols")
        magic, count, names_size = _HEAD.unpack_from(data)
        if magic != _MAGIC or len(data) != _HEAD.size + 24 * count + names_size:
            raise MalformedInput("not a table of symbols")
        starts, sizes, ends = (
            _read_column(data[_HEAD.size + 8 * count * index :], count) for index in range(3)
        )
        names = data[_HEAD.size + 24 * count :]
        if len(ends) and ends[-1] != len(names):
            raise MalformedInput("not a table of symbols")
        return cls(starts, sizes, ends, names)


def _read_column(data: bytes, count: int) -> array[int]:
    column = array("Q", data[: 8 * count])
    if sys.byteorder == "big":
        column.byteswap()
    return column


def make_table(functions: Iterable[tuple[int, int, bytes]]) -> SymbolTable:
    """``functions``: (start, size, name) in order of address, no two at one."""
    starts, sizes, ends, names = array("Q"), array("Q"), array("Q"), []
    end = 0
    for start, size, name in functions:
        if not 0 <= start <= start + size < 1 << 64:
            continue  # in a damaged file
        starts.append(start)
        sizes.append(size)
        end += len(name)
        ends.append(end)
        names.append(name)
    return SymbolTable(starts, sizes, ends, b"".join(names))
