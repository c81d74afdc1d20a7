"""The memory of a process that runs on: read without stopping it."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterable
from functools import cached_property, lru_cache

assert sys.platform == "linux"

from perimortem.errors import MalformedInput
from perimortem.model.snapshot import Region
from perimortem.procfs.file import read_file
from perimortem.procfs.status import read_status


class LiveMemory:
    """Use as a context manager. Raises OSError if it may not be read."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> LiveMemory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        # The monitor loads this module, and leaves the work to a child.
        from perimortem.binary.proc_maps import parse_maps

        return parse_maps(read_file(f"/proc/{self._pid}/maps"))

    def read(self, address: int, size: int) -> bytes:
        """Fewer bytes if it cannot be read."""
        try:
            return os.pread(self._fd, size, address)
        except (OSError, OverflowError):
            return b""

    def has_file(self, file_name: str) -> bool:
        """Has a file been mapped whose name begins so?"""
        return any(os.path.basename(region.path).startswith(file_name) for region in self.regions)

    def find_symbol(self, file_name: str, name: str) -> range | None:
        """Where an exported variable lies, of a module whose file name begins with ``file_name``."""
        for region in self.regions:
            if region.file_offset or not os.path.basename(region.path).startswith(file_name):
                continue
            found = _find_export(self._pid, region, name)
            if found is not None:
                first, size = found
                return range(region.start + first, region.start + first + size)
        return None


def local_tids(pid: int, tids: Iterable[int]) -> dict[int, int]:
    """Threads (tids) by the numbers that they have in the pid namespace of their process."""
    found = {}
    for tid in tids:
        status = read_status(pid, tid)
        found[status.numbers[-1] if status is not None and status.numbers else tid] = tid
    return found


@lru_cache(maxsize=64)
def _find_export(pid: int, region: Region, name: str) -> tuple[int, int] | None:
    """(offset from where the file is mapped, size in bytes)."""
    from perimortem.binary.elf_image import ElfImage
    from perimortem.symbols.elf_symbols import find_elf_object

    fd = _open_mapped(pid, region)
    if fd is None:
        return None
    try:
        image = ElfImage(lambda offset, size: os.pread(fd, size, offset))
        found = find_elf_object(image, ".dynsym", name)
        return (found[0] - image.preferred_base, found[1]) if found is not None else None
    except (OSError, MalformedInput):
        return None
    finally:
        os.close(fd)


def _open_mapped(pid: int, region: Region) -> int | None:
    """The file that is mapped there, and no other one that has its path by now."""
    try:
        fd = os.open(f"/proc/{pid}/root{region.path}", os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError:
        return None
    if os.fstat(fd).st_ino == region.inode:
        return fd
    os.close(fd)
    return None
