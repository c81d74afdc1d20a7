"""Memory that lies in a file in pieces: what cores and minidumps have of a process. Pure."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass

from perimortem.errors import MalformedInput
from perimortem.model.memory import DenseMemory
from perimortem.model.snapshot import MemoryRange

_SHARED_MAX = 4
ReadAt = Callable[[int, int], bytes]
"""read(offset, size): bytes of the file, fewer at its end."""


@dataclass(frozen=True)
class Piece:
    """``size`` bytes of memory from ``address`` on are at ``offset`` of the file."""

    address: int
    size: int
    offset: int


def bound_pieces(pieces: Iterable[Piece], file_size: int) -> list[Piece]:
    """Ranges may share bytes of the file, as stacks and what surrounds them do; not without end.

    Raises :class:`MalformedInput`.
    """
    found = list(pieces)
    claimed = sum(piece.size for piece in found)
    if claimed > _SHARED_MAX * file_size:
        raise MalformedInput(
            "the dump is damaged",
            why=f"it claims {claimed} bytes of memory, the file has {file_size}",
        )
    return found


class PieceMemory(DenseMemory):
    """Pieces, found by address."""

    def __init__(self, read: ReadAt, pieces: Iterable[Piece]) -> None:
        """Where pieces overlap the one with the lower address counts."""
        self._read_file = read
        self._pieces = list(_disjoin(pieces))
        self._starts = [piece.address for piece in self._pieces]

    @property
    def ranges(self) -> tuple[MemoryRange, ...]:
        """In address order, disjoint."""
        return tuple(MemoryRange(piece.address, piece.size) for piece in self._pieces)

    def has(self, address: int, size: int) -> bool:
        """Any byte of it."""
        index = bisect_right(self._starts, address + size - 1) - 1
        if index < 0:
            return False
        piece = self._pieces[index]
        return piece.address + piece.size > address

    def read(self, address: int, size: int) -> bytes:
        parts = []
        while size > 0:
            piece = self._find(address)
            if piece is None:
                break
            inside = address - piece.address
            data = self._read_file(piece.offset + inside, min(size, piece.size - inside))
            if not data:
                break
            parts.append(data)
            address, size = address + len(data), size - len(data)
        return b"".join(parts)

    def _find(self, address: int) -> Piece | None:
        index = bisect_right(self._starts, address) - 1
        if index < 0:
            return None
        piece = self._pieces[index]
        return piece if address < piece.address + piece.size else None


def _disjoin(pieces: Iterable[Piece]) -> Iterator[Piece]:
    end = 0
    for piece in sorted(pieces, key=lambda piece: (piece.address, -piece.size)):
        skipped = max(0, end - piece.address)
        if piece.size > skipped:
            yield Piece(piece.address + skipped, piece.size - skipped, piece.offset + skipped)
            end = piece.address + piece.size
