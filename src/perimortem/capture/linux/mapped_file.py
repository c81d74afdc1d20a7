"""Which parts of a mapped file have data: reading a hole of shared memory would allocate it."""

from __future__ import annotations

import errno
import os
import sys
from collections.abc import Iterator

assert sys.platform == "linux"

from perimortem.model.snapshot import MemoryRange, Region

_PARTS_MAX = 1 << 20


def iter_file_data(pid: int, region: Region) -> Iterator[MemoryRange] | None:
    """By SEEK_DATA on /proc/PID/map_files; None without the right to open it (CAP_SYS_ADMIN)."""
    try:
        fd = os.open(
            f"/proc/{pid}/map_files/{region.start:x}-{region.end:x}", os.O_RDONLY | os.O_CLOEXEC
        )
    except OSError:
        return None
    try:
        os.lseek(fd, 0, os.SEEK_DATA)
    except OSError as error:
        if error.errno != errno.ENXIO:  # a device, or a file system without SEEK_DATA
            os.close(fd)
            return None
    return _iter(fd, region)


def _iter(fd: int, region: Region) -> Iterator[MemoryRange]:
    at, end = region.file_offset, region.file_offset + region.size
    try:
        for _ in range(_PARTS_MAX):
            start = os.lseek(fd, at, os.SEEK_DATA)
            stop = min(os.lseek(fd, start, os.SEEK_HOLE), end)
            if start >= end:
                break
            yield MemoryRange(region.start + start - region.file_offset, stop - start)
            at = stop
    except OSError:  # ENXIO: no data after that
        return
    finally:
        os.close(fd)
