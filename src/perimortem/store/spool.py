"""Reports that could not be stored, one file each, until a store takes them.

An entry is a report (docs/report.schema.json) in ``UID.json``: written whole to a partial file, synced
and renamed, and its directory synced. An entry with the same uid is replaced.
"""

from __future__ import annotations

import os
import re
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from perimortem.errors import StoreError

SPOOL = "spool"
"""The name of the directory."""
_NAME = re.compile(r"[0-9a-f]{32}\.json")
_BINARY = getattr(os, "O_BINARY", 0)
_READ_ONLY = os.O_RDONLY | _BINARY | getattr(os, "O_NOFOLLOW", 0) | getattr(os, "O_NONBLOCK", 0)
_SIZE_MAX = 64 << 20
_ENTRIES_MAX = 10_000
"""What one start takes in; more stay for the next. Arbitrary."""


@dataclass(frozen=True)
class Entry:
    """A report in the spool."""

    path: Path
    text: str
    identity: tuple[int, int]
    """Of the file: another with the same name is a later report."""


class Spool:
    """One or more directories: a later one is used where the earlier ones cannot be written."""

    def __init__(self, *directories: Path) -> None:
        self._directories = directories

    def put(self, uid: str, text: str) -> Path:
        """Keep a report durably; returns its file. Raises StoreError if no directory takes it."""
        why = "there is no directory for it"
        for directory in self._directories:
            try:
                return _write(directory, f"{uid}.json", text.encode())
            except OSError as error:
                why = f"{directory}: {error.strerror or error}"
        raise StoreError("the report cannot be kept in the spool", why=why)

    def discard(self, uid: str) -> None:
        """It is in the store now."""
        for directory in self._directories:
            with suppress(OSError):
                (directory / f"{uid}.json").unlink(missing_ok=True)

    def list_entries(self) -> list[Entry]:
        """Oldest first. Other files, links and entries that cannot be read are left alone."""
        found = []
        for directory in self._directories:
            with suppress(OSError):
                found += [e for e in os.scandir(directory) if _NAME.fullmatch(e.name)]
        dated = []
        for entry in found[:_ENTRIES_MAX]:
            with suppress(OSError):
                dated.append((entry.stat(follow_symlinks=False).st_mtime_ns, Path(entry.path)))
        entries = []
        for _, path in sorted(dated):
            with suppress(OSError, UnicodeDecodeError):
                entries.append(Entry(path, *_read(path)))
        return entries

    def remove(self, entry: Entry) -> None:
        """It is in the store now; unless it was replaced meanwhile by a later report."""
        with suppress(OSError):
            facts = entry.path.stat(follow_symlinks=False)
            if (facts.st_ino, facts.st_mtime_ns) == entry.identity:
                entry.path.unlink()

    def set_aside(self, entry: Entry) -> Path:
        """It is not a report that this version can read: kept, and not tried again."""
        aside = entry.path.with_suffix(".unreadable")
        with suppress(OSError):
            entry.path.rename(aside)
        return aside


def list_spools(data_dir: Path, run_dir: Path) -> tuple[Path, ...]:
    """Beside the store, or with the recorders if that cannot be written."""
    return data_dir / SPOOL, run_dir / SPOOL


def _write(directory: Path, name: str, data: bytes) -> Path:
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    path = directory / name
    partial = directory / f".{name}.{os.getpid()}.partial"
    try:
        fd = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _BINARY, 0o600)
        with os.fdopen(fd, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        partial.replace(path)
    except OSError:
        with suppress(OSError):
            partial.unlink(missing_ok=True)
        raise
    _sync(directory)
    return path


def _sync(directory: Path) -> None:
    """So that the new name survives a power cut; Windows does that by itself."""
    if os.name != "posix":
        return
    fd = os.open(directory, os.O_RDONLY)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)


def _read(path: Path) -> tuple[str, tuple[int, int]]:
    fd = os.open(path, _READ_ONLY)
    with os.fdopen(fd, "rb") as file:
        facts = os.fstat(fd)
        data = file.read(_SIZE_MAX + 1)
    if len(data) > _SIZE_MAX:
        raise OSError(f"{path} is too large")
    return data.decode("utf-8"), (facts.st_ino, facts.st_mtime_ns)
