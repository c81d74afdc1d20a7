"""Memory of another process: process_vm_readv if allowed, else /proc/PID/task/TID/mem."""

from __future__ import annotations

import ctypes
import os
import sys
from bisect import bisect_right
from collections.abc import Iterable, Iterator

assert sys.platform == "linux"

from perimortem.capture.linux.copied_memory import merge
from perimortem.capture.linux.mapped_file import iter_file_data
from perimortem.capture.linux.pagemap import Pagemap
from perimortem.capture.linux.ptrace import IoVec
from perimortem.model.snapshot import MemoryRange, Region

_libc = ctypes.CDLL(None, use_errno=True)
_read_process = _libc.process_vm_readv
_read_process.argtypes = (
    ctypes.c_int, ctypes.POINTER(IoVec), ctypes.c_ulong,
    ctypes.POINTER(IoVec), ctypes.c_ulong, ctypes.c_ulong,
)  # fmt: skip
_read_process.restype = ctypes.c_ssize_t


class LiveMemory:
    """Reads through a live thread: the leader may be gone (pthread_exit in main)."""

    def __init__(self, pid: int, tid: int) -> None:
        """Raises OSError."""
        self.pid, self.tid = pid, tid
        self._fd = os.open(f"/proc/{pid}/task/{tid}/mem", os.O_RDONLY | os.O_CLOEXEC)
        self._pagemap = Pagemap(pid, tid)
        self._holed: list[Region] = []
        self._starts: list[int] = []
        self._local, self._remote = IoVec(), IoVec()
        self._is_direct = True
        """Some seccomp profiles forbid process_vm_readv but not /proc/PID/mem."""

    def declare(self, regions: Iterable[Region]) -> None:
        """The mappings, whose untouched pages must not be touched by us."""
        self._holed = [region for region in regions if region.readable]
        self._starts = [region.start for region in self._holed]

    def read(self, address: int, size: int) -> bytes:
        """The bytes from ``address`` on, up to the first page that cannot be read."""
        try:
            data = os.pread(self._fd, size, address)
        except (OSError, OverflowError):
            return b""
        if len(data) == size or not data:
            return data
        # A short read ends at a hole, or for no reason: ask for the rest once.
        return data + self.read(address + len(data), size - len(data))

    def read_into(self, address: int, buffer: memoryview) -> int:
        """At least one byte if there is one; fewer than requested where memory cannot be read."""
        if self._is_direct:
            count = self._read_direct(address, buffer)
            if count > 0:
                return count
        try:
            return os.preadv(self._fd, [buffer], address)
        except (OSError, OverflowError):
            return 0

    def iter_data(self, address: int, size: int) -> Iterator[MemoryRange]:
        """Skips pages that were never touched: reading them would allocate them."""
        at, end = address, address + size
        index = max(0, bisect_right(self._starts, address) - 1)
        while index < len(self._holed):
            region = self._holed[index]
            first, last = max(region.start, at), min(region.end, end)
            if region.start >= end:
                break
            index += 1
            if first >= last:
                continue
            if at < first:
                yield MemoryRange(at, first - at)
            yield from self._iter_region(region, first, last)
            at = last
        if at < end:
            yield MemoryRange(at, end - at)

    def _iter_region(self, region: Region, first: int, last: int) -> Iterator[MemoryRange]:
        """Of anonymous memory the touched pages; of a file its data, and modified pages."""
        if not region.inode:
            yield from self._pagemap.iter_touched(first, last - first)
            return
        in_file = iter_file_data(self.pid, region)
        if in_file is None:
            if region.shared:
                yield from self._pagemap.iter_touched(first, last - first)
            else:
                yield MemoryRange(first, last - first)
            return
        changed = () if region.shared else self._pagemap.iter_private(first, last - first)
        at = first
        for part in merge(
            (part.address, part.address + part.size) for part in (*in_file, *changed)
        ):
            start, stop = max(part[0], at), min(part[1], last)
            if start < stop:
                yield MemoryRange(start, stop - start)
                at = stop

    def iter_changed(self, region: Region) -> Iterator[MemoryRange]:
        """Parts of a private file mapping that the process has written to."""
        return self._pagemap.iter_private(region.start, region.size)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._pagemap.close()
            self._fd = -1

    def _read_direct(self, address: int, buffer: memoryview) -> int:
        target = ctypes.c_char.from_buffer(buffer)
        self._local.base, self._local.length = ctypes.addressof(target), len(buffer)
        self._remote.base, self._remote.length = address, len(buffer)
        count = int(_read_process(self.tid, self._local, 1, self._remote, 1, 0))
        if count < 0 and ctypes.get_errno() != 14:  # EFAULT: just not readable that way
            self._is_direct = False
        return count
