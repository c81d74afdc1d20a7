"""Memory of a process, from any source: a live process, a clone of it, a minidump, a core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from perimortem.model.snapshot import MemoryRange


class Memory(Protocol):
    """The readable memory of a process."""

    def read(self, address: int, size: int) -> bytes:
        """The bytes there, up to the first unreadable one; b"" if none can be read."""

    def read_into(self, address: int, buffer: memoryview) -> int:
        """The same into ``buffer``; returns how many bytes were read."""

    def iter_data(self, address: int, size: int) -> Iterator[MemoryRange]:
        """The parts of a range that may contain non-zero bytes, in order."""


class DenseMemory:
    """A base class for memory that implements only ``read``."""

    def read(self, address: int, size: int) -> bytes:
        raise NotImplementedError

    def read_into(self, address: int, buffer: memoryview) -> int:
        data = self.read(address, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def iter_data(self, address: int, size: int) -> Iterator[MemoryRange]:
        yield MemoryRange(address, size)
