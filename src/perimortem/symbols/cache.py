"""Symbol tables on disk, by build-id: sorting a large one takes longer than reading it.

A per-user cache: $PERIMORTEM_CACHE_DIR, else the cache directory of the system. Read and write errors
are ignored.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

from perimortem.errors import MalformedInput
from perimortem.symbols.table import SymbolTable

_WORTH_IT = 2000
"""Smaller tables are as fast to create. Arbitrary."""
_BYTES_MAX = 512 << 20
"""For all tables; beyond it the oldest are removed."""


def find_cache_dir() -> Path:
    given = os.environ.get("PERIMORTEM_CACHE_DIR")
    if given:
        return Path(given).absolute() / "symbols"
    import platformdirs

    return Path(platformdirs.user_cache_dir("perimortem", appauthor=False)) / "symbols"


class SymbolCache:
    """Tables by build-id."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def load(
        self, build_id: bytes | None, file: Path, kind: str, make: Callable[[], SymbolTable]
    ) -> SymbolTable:
        """From the disk, or by ``make``; ``kind`` distinguishes tables of one build-id.

        A file can claim any build-id: only a table that was made of this very ``file`` is taken."""
        identity = _identify(file)
        if build_id is None or len(build_id) > 64 or identity is None:
            return make()
        path = self._directory / f"{build_id.hex()}-{kind}-{identity}"
        try:
            return SymbolTable.from_bytes(path.read_bytes())
        except (OSError, MalformedInput):
            table = make()
        if len(table) >= _WORTH_IT:
            self._write(path, table)
        return table

    def _write(self, path: Path, table: SymbolTable) -> None:
        partial = path.with_name(f".{path.name}.{os.getpid()}")
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._make_room(24 * len(table))
            partial.write_bytes(table.to_bytes())
            partial.replace(path)
        except OSError:
            with suppress(OSError):  # the directory may be another user's
                partial.unlink(missing_ok=True)

    def _make_room(self, size: int) -> None:
        files = sorted(self._directory.iterdir(), key=lambda p: p.stat().st_mtime)
        total = size + sum(path.stat().st_size for path in files)
        for path in files:
            if total <= _BYTES_MAX:
                return
            total -= path.stat().st_size
            path.unlink(missing_ok=True)


def _identify(path: Path) -> str | None:
    """Of its contents: what no one but the kernel can set. None: it is gone."""
    try:
        facts = path.stat()
    except OSError:
        return None
    values = (facts.st_dev, facts.st_ino, facts.st_size, facts.st_ctime_ns)
    return hashlib.sha256(repr(values).encode()).hexdigest()[:16]
