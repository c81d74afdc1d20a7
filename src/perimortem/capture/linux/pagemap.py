"""Which pages of a mapping were ever touched (proc_pid_pagemap(5), ioctl PAGEMAP_SCAN of 6.7)."""

from __future__ import annotations

import ctypes
import fcntl
import os
import struct
import sys
from array import array
from collections.abc import Iterator

assert sys.platform == "linux"

from perimortem.model.snapshot import MemoryRange

_PAGE = 4096
_PAGEMAP_SCAN = 0xC0606610
_PRESENT, _SWAPPED, _ZERO, _FILE = 1 << 3, 1 << 4, 1 << 5, 1 << 2
_ARGUMENT = struct.Struct("<12Q")
_REGIONS = 1024
_REGION_BYTES = 24
_TOUCHED_BITS = 0b11 << 62
"""Bits of a pagemap entry: present, swapped."""
_FILE_BIT = 1 << 61
_ENTRIES_AT_ONCE = 1 << 16


class Pagemap:
    """For one process; unknown pages count as touched."""

    def __init__(self, pid: int, tid: int) -> None:
        try:
            self._fd = os.open(f"/proc/{pid}/task/{tid}/pagemap", os.O_RDONLY | os.O_CLOEXEC)
        except OSError:
            self._fd = -1
        self._buffer = ctypes.create_string_buffer(_REGION_BYTES * _REGIONS)
        self._has_scan = True

    def iter_touched(self, address: int, size: int) -> Iterator[MemoryRange]:
        """Parts whose pages are in memory or in swap; the shared zero page is neither."""
        yield from self._iter(address, size, excluded=_ZERO)

    def iter_private(self, address: int, size: int) -> Iterator[MemoryRange]:
        """Parts of a private file mapping that differ from the file."""
        yield from self._iter(address, size, excluded=_FILE)

    def close(self) -> None:
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _iter(self, address: int, size: int, *, excluded: int) -> Iterator[MemoryRange]:
        start = address // _PAGE * _PAGE
        end = -(-(address + size) // _PAGE) * _PAGE
        if self._fd < 0:
            yield MemoryRange(address, size)
            return
        at = start
        while self._has_scan and at < end:
            answer = self._scan(at, end, excluded)
            if answer is None:
                self._has_scan = False
                break
            found, at = answer
            for first, last in found:
                yield _clip(first, last, address, size)
        if at < end:
            for first, last in self._read(at, end, excluded):
                yield _clip(first, last, address, size)

    def _scan(
        self, start: int, end: int, excluded: int
    ) -> tuple[list[tuple[int, int]], int] | None:
        """Up to _REGIONS parts, and the address up to which was searched."""
        argument = bytearray(
            _ARGUMENT.pack(
                _ARGUMENT.size, 0, start, end, 0, ctypes.addressof(self._buffer), _REGIONS, 0,
                excluded, excluded, _PRESENT | _SWAPPED, 0,
            )
        )  # fmt: skip
        try:
            count = fcntl.ioctl(self._fd, _PAGEMAP_SCAN, argument)
        except OSError:
            return None
        walked_to = _ARGUMENT.unpack(argument)[4]
        raw = self._buffer.raw[: count * _REGION_BYTES]
        found = [(first, last) for first, last, _ in struct.iter_unpack("<QQQ", raw)]
        return found, walked_to if walked_to > start else end

    def _read(self, start: int, end: int, excluded: int) -> Iterator[tuple[int, int]]:
        """For older kernels: eight bytes per page, which cannot identify the zero page."""
        run: int | None = None
        page = start // _PAGE
        while page < end // _PAGE:
            wanted = min(_ENTRIES_AT_ONCE, end // _PAGE - page)
            try:
                raw = os.pread(self._fd, 8 * wanted, 8 * page)
            except OSError:
                raw = b""
            if len(raw) < 8:
                yield run if run is not None else page * _PAGE, end
                return
            entries = array("Q", raw[: len(raw) // 8 * 8])
            if run is not None or any(entries):
                for index, entry in enumerate(entries):
                    is_wanted = entry & _TOUCHED_BITS and not (
                        excluded == _FILE and entry & _FILE_BIT
                    )
                    if is_wanted and run is None:
                        run = (page + index) * _PAGE
                    elif not is_wanted and run is not None:
                        yield run, (page + index) * _PAGE
                        run = None
            page += len(entries)
        if run is not None:
            yield run, end


def _clip(first: int, last: int, address: int, size: int) -> MemoryRange:
    first, last = max(first, address), min(last, address + size)
    return MemoryRange(first, last - first)
