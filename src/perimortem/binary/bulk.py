"""The bulk of a dump: memory from a process to a file, in large pieces, through one buffer. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from perimortem.errors import ProcessGone
from perimortem.model.memory import Memory
from perimortem.model.snapshot import MemoryRange

BUFFER_BYTES = 2 << 20
"""Half of a usual second-level cache's worth of pages; larger ones are not faster."""
_PAGE = 4096
_HOLES_BEFORE_CHECK = 1 << 20
"""After this many unreadable bytes in one range check whether the process still exists."""


class Output(Protocol):
    """A binary file that can be written and sought. What is skipped reads as zeros."""

    def write(self, data: bytes | memoryview, /) -> int: ...

    def seek(self, offset: int, whence: int = 0, /) -> int: ...

    def tell(self) -> int: ...


class BulkCopier:
    """Copies ranges to ``out`` one after the other; each becomes exactly its size there."""

    def __init__(self, memory: Memory, out: Output, is_alive: Callable[[], bool]) -> None:
        self._memory = memory
        self._out = out
        self._is_alive = is_alive
        self._buffer = memoryview(b"")

    def copy(self, wanted: MemoryRange) -> int:
        """How many bytes could not be read; they are zero. Raises ProcessGone, OSError."""
        missing, at = 0, wanted.address
        for part in self._memory.iter_data(wanted.address, wanted.size):
            self._skip(part.address - at)
            missing += self._copy_part(part)
            at = part.address + part.size
        self._skip(wanted.address + wanted.size - at)
        return missing

    def _copy_part(self, part: MemoryRange) -> int:
        missing, at, end = 0, part.address, part.address + part.size
        if len(self._buffer) < min(BUFFER_BYTES, part.size):
            self._buffer = memoryview(bytearray(min(BUFFER_BYTES, part.size)))
        check_at = _HOLES_BEFORE_CHECK
        while at < end:
            if missing >= check_at:
                if not self._is_alive():
                    raise ProcessGone("the process ended while its memory was read")
                check_at = missing + _HOLES_BEFORE_CHECK
            view = self._buffer[: min(BUFFER_BYTES, end - at)]
            count = self._memory.read_into(at, view)
            if count:
                self._out.write(view[:count])
                at += count
            if count < len(view):
                hole = min(_PAGE - at % _PAGE, end - at)
                self._skip(hole)
                missing += hole
                at += hole
        return missing

    def _skip(self, size: int) -> None:
        if size > 0:
            self._out.seek(size, 1)
