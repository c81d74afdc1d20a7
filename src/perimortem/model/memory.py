"""Memory of a process, wherever it comes from: a live process, a clone of it, a minidump, a core."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Protocol

from perimortem.model.snapshot import MemoryRange


class Memory(Protocol):
    """What can be read of a process's memory."""

    def read(self, address: int, size: int) -> bytes:
        """The bytes there, up to the first that cannot be read; b"" when none can."""

    def read_into(self, address: int, buffer: memoryview) -> int:
        """The same into ``buffer``; how many bytes were read."""

    def iter_data(self, address: int, size: int) -> Iterator[MemoryRange]:
        """The parts of a range that may hold other bytes than zeros, in order."""


class DenseMemory:
    """Memory of which only ``read`` is its own."""

    def read(self, address: int, size: int) -> bytes:
        raise NotImplementedError

    def read_into(self, address: int, buffer: memoryview) -> int:
        data = self.read(address, len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def iter_data(self, address: int, size: int) -> Iterator[MemoryRange]:
        yield MemoryRange(address, size)
