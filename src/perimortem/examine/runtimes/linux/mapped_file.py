"""Symbols of files that a process has mapped; what was read is kept for the next look."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import lru_cache, partial
from typing import TYPE_CHECKING, TypeVar

assert sys.platform == "linux"

from perimortem.errors import MalformedInput
from perimortem.model.snapshot import Region

if TYPE_CHECKING:
    from perimortem.binary.elf_image import ElfImage

_T = TypeVar("_T")


@lru_cache(maxsize=256)
def find_export(pid: int, region: Region, name: str) -> tuple[int, int] | None:
    """(offset from where the file is mapped, size in bytes) of an exported function or variable."""
    from perimortem.symbols.elf_symbols import find_elf_object

    found = _read(pid, region, lambda image: find_elf_object(image, ".dynsym", name), None)
    base = _read(pid, region, lambda image: image.preferred_base, 0)
    return (found[0] - base, found[1]) if found is not None else None


@lru_cache(maxsize=64)
def list_functions(
    pid: int, region: Region, pattern: re.Pattern[bytes]
) -> tuple[tuple[int, int, bytes], ...]:
    """(offset from where the file is mapped, size in bytes, mangled name) of those that match."""
    from perimortem.symbols.elf_symbols import find_elf_functions

    nothing: list[tuple[int, int, bytes]] = []
    found = _read(pid, region, lambda image: find_elf_functions(image, pattern), nothing)
    base = _read(pid, region, lambda image: image.preferred_base, 0)
    return tuple((address - base, size, name) for address, size, name in found)


def _read(pid: int, region: Region, read: Callable[[ElfImage], _T], default: _T) -> _T:
    with _open(pid, region) as image:
        try:
            return read(image) if image is not None else default
        except (OSError, MalformedInput):
            return default


@contextmanager
def _open(pid: int, region: Region) -> Iterator[ElfImage | None]:
    """The file that is mapped there, and no other one that has its path by now."""
    from perimortem.binary.elf_image import ElfImage

    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(f"/proc/{pid}/root{region.path}", flags)
    except OSError:
        yield None
        return
    try:
        is_mapped = os.fstat(fd).st_ino == region.inode
        yield ElfImage(partial(_read_part, fd)) if is_mapped else None
    except MalformedInput:
        yield None
    finally:
        os.close(fd)


def _read_part(fd: int, offset: int, size: int) -> bytes:
    """Fewer bytes where there are none: the file may be made up."""
    try:
        return os.pread(fd, size, offset)
    except (OSError, OverflowError):
        return b""
