"""Lines from DWARF through symbolic, imported on first use: that takes longer than most answers."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from perimortem.model.stack import SourceLine

_BYTES_MAX = 1 << 30


class SymbolicLines:
    """One file."""

    def __init__(self, path: Path) -> None:
        """Raises ImportError."""
        from symbolic.debuginfo import Archive

        self._cache: Any = None
        try:
            if path.stat().st_size > _BYTES_MAX:
                return
            self._cache = next(iter(Archive.open(str(path)).iter_objects())).make_symcache()
        except Exception:  # noqa: BLE001 - errors of a file, a dozen kinds of them
            self._cache = None

    def find(self, address: int) -> tuple[SourceLine, ...]:
        if self._cache is None or not 0 <= address < 1 << 64:
            return ()
        return tuple(
            SourceLine(place.full_path or "?", place.line, place.symbol or None)
            for place in self._cache.lookup(address)
            if place.line
        )
