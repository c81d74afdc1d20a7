"""Memory behind a function."""

from __future__ import annotations

from perimortem.model.memory import DenseMemory
from perimortem.model.snapshot import ReadMemory


class PlainMemory(DenseMemory):
    """Implements ``model.memory.Memory`` by ``read(address, size)``."""

    def __init__(self, read: ReadMemory) -> None:
        self._read = read

    def read(self, address: int, size: int) -> bytes:
        return self._read(address, size)
