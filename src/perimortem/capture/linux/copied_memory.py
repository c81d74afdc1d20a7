"""Memory that was copied while the process was stopped, found again by address. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Iterator

from perimortem.model.memory import Memory
from perimortem.model.snapshot import MemoryRange


def merge(spans: Iterable[tuple[int, int]]) -> Iterator[tuple[int, int]]:
    """(start, end) in order, with adjacent and overlapping ones merged."""
    last: tuple[int, int] | None = None
    for start, end in sorted(spans):
        if last is not None and start <= last[1]:
            last = (last[0], max(last[1], end))
            continue
        if last is not None:
            yield last
        last = (start, end)
    if last is not None:
        yield last


class CopiedMemory:
    """Memory that was copied during the pause, found by address; ``rest`` has everything else."""

    def __init__(self, copies: list[tuple[int, bytes]], rest: Memory | None = None) -> None:
        self._copies = sorted(copies, key=lambda copy: copy[0])
        self._starts = [address for address, _ in self._copies]
        self._rest = rest

    def read(self, address: int, size: int) -> bytes:
        """The bytes there, up to the end of the copied range."""
        copy = self._find(address)
        if copy is None:
            return self._rest.read(address, size) if self._rest else b""
        start, data = copy
        return data[address - start : address - start + size]

    def read_into(self, address: int, buffer: memoryview) -> int:
        if self._find(address) is None and self._rest is not None:
            return self._rest.read_into(address, buffer)
        data = self.read(address, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def iter_data(self, address: int, size: int) -> Iterator[MemoryRange]:
        """Copies are data; between them ``rest`` decides."""
        at, end = address, address + size
        if self._rest is None:
            yield MemoryRange(address, size)
            return
        index = max(0, bisect_right(self._starts, address) - 1)
        while index < len(self._copies) and self._starts[index] < end:
            start, data = self._copies[index]
            first, last = max(start, at), min(start + len(data), end)
            index += 1
            if first < last:
                if at < first:
                    yield from self._rest.iter_data(at, first - at)
                yield MemoryRange(first, last - first)
                at = last
        if at < end:
            yield from self._rest.iter_data(at, end - at)

    def _find(self, address: int) -> tuple[int, bytes] | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        start, data = self._copies[index]
        return (start, data) if address < start + len(data) else None
