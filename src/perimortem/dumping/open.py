"""Open a dump of any kind: a minidump or a core, compressed or not."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from perimortem.binary.pieces import ReadAt
from perimortem.dumping.compressed import CompressedReader
from perimortem.elfcore.reader import is_core, read_core
from perimortem.errors import MalformedInput, PerimortemError
from perimortem.minidump.reader import MinidumpFile
from perimortem.minidump.snapshot import read_snapshot
from perimortem.model.snapshot import Snapshot

_ZSTD_MAGIC = b"\x28\xb5\x2f\xfd"


@contextmanager
def open_bytes(
    path: Path, before_parsing: Callable[[], None] = lambda: None
) -> Iterator[tuple[ReadAt, int]]:
    """(read, size) of the uncompressed contents. Raises PerimortemError naming the file.

    ``before_parsing`` is called once the file is open."""
    if path.exists() and not path.is_file():  # not opened: a fifo would block
        why = "it is a directory" if path.is_dir() else "it is not a regular file"
        raise PerimortemError(f"cannot read {path}", why=why)
    try:
        file = open(path, "rb", buffering=0)  # noqa: SIM115 - what the body raises is not its fault
    except OSError as error:
        raise PerimortemError(f"cannot read {path}", why=error.strerror or str(error)) from error
    with file:
        before_parsing()
        try:
            read, size = _reader(file.fileno()), os.fstat(file.fileno()).st_size
            if read(0, 4) == _ZSTD_MAGIC:
                unpacked = CompressedReader(read, size)
                read, size = unpacked.read, unpacked.size
            yield read, size
        except MalformedInput as error:
            raise MalformedInput(f"{path}: {error}") from error


@contextmanager
def open_snapshot(
    path: Path, before_parsing: Callable[[], None] = lambda: None
) -> Iterator[Snapshot]:
    """The process described by the dump. Raises PerimortemError naming the file."""
    with open_bytes(path, before_parsing) as (read, size):
        if is_core(read(0, 18)):
            yield read_core(read, size)
        else:
            yield read_snapshot(MinidumpFile(read, size))


def _reader(fd: int) -> ReadAt:
    def read(offset: int, size: int) -> bytes:
        parts: list[bytes] = []
        while size > 0:
            os.lseek(fd, offset, os.SEEK_SET)  # pread(2) is not everywhere
            part = os.read(fd, min(size, 1 << 28))
            if not part:
                break
            if not parts and len(part) == size:
                return part
            parts.append(part)
            offset, size = offset + len(part), size - len(part)
        return b"".join(parts)

    return read
