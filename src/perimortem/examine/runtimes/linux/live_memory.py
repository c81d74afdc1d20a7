"""The memory of a process that runs on: read without stopping it."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable
from functools import cached_property
from typing import TYPE_CHECKING, TypeVar

assert sys.platform == "linux"

from perimortem.binary.regions import find_region
from perimortem.examine.runtimes.linux.mapped_file import derive, find_export, list_functions
from perimortem.model.snapshot import Region
from perimortem.procfs.file import read_file

if TYPE_CHECKING:
    from perimortem.binary.elf_image import ElfImage

_T = TypeVar("_T")
_READ_MAX = 64 << 20
"""At once: what the memory of a process says of sizes may be a lie."""


class LiveMemory:
    """Use as a context manager. Raises OSError if it may not be read."""

    def __init__(self, pid: int) -> None:
        self.pid = pid
        self._fd = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)

    def __enter__(self) -> LiveMemory:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self._fd)

    @cached_property
    def regions(self) -> tuple[Region, ...]:
        # The monitor loads this module, and leaves the work to a child.
        from perimortem.binary.proc_maps import parse_maps

        return parse_maps(read_file(f"/proc/{self.pid}/maps"))

    def read(self, address: int, size: int) -> bytes:
        """Fewer bytes if it cannot be read."""
        try:
            return os.pread(self._fd, min(size, _READ_MAX), address)
        except (OSError, OverflowError, ValueError):
            return b""

    def has_file(self, file_name: str) -> bool:
        """Has a file been mapped whose name begins so?"""
        return any(os.path.basename(region.path).startswith(file_name) for region in self.regions)

    def is_in_file(self, address: int, file_name: str) -> bool:
        """Does it lie in a file whose name begins so?"""
        region = find_region(self.regions, address)
        return region is not None and os.path.basename(region.path).startswith(file_name)

    def derive(self, region: Region, make: Callable[[ElfImage], _T]) -> _T | None:
        """What ``make`` makes of the file that is mapped there; None if it cannot be read."""
        return derive(self.pid, region, make)

    def find_symbol(self, file_name: str, name: str) -> range | None:
        """Where an exported variable lies, of a module whose file name begins with ``file_name``."""
        for region in self.regions:
            if region.file_offset or not os.path.basename(region.path).startswith(file_name):
                continue
            found = find_export(self.pid, region, name)
            if found is not None:
                first, size = found
                return range(region.start + first, region.start + first + size)
        return None

    def find_function(self, address: int, pattern: re.Pattern[bytes]) -> bytes | None:
        """The mangled name of the function around ``address``, if ``pattern`` is found in it."""
        region = find_region(self.regions, address)
        first = next(
            (r for r in self.regions if region is not None and r.path == region.path), None
        )
        if first is None or first.file_offset or not first.path.startswith("/"):
            return None
        at = address - first.start
        found = list_functions(self.pid, first, pattern)
        return next((name for start, size, name in found if start <= at < start + size), None)
