"""Symbols of files that a process has mapped; what was read of a file is kept for other processes."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import lru_cache, partial
from typing import TYPE_CHECKING, Any, TypeVar

assert sys.platform == "linux"

from perimortem.errors import MalformedInput
from perimortem.model.snapshot import Region

if TYPE_CHECKING:
    from perimortem.binary.elf_image import ElfImage

_T = TypeVar("_T")


@dataclass(frozen=True)
class _File:
    """Equal if it is the same file with the same content. ``fd``: open while it is read."""

    device: int
    inode: int
    modified_ns: int
    fd: int = field(compare=False)


def find_export(pid: int, region: Region, name: str) -> tuple[int, int] | None:
    """(offset from where the file is mapped, size in bytes) of an exported function or variable."""
    with _open(pid, region) as file:
        return _find_export(file, name) if file is not None else None


def list_functions(
    pid: int, region: Region, pattern: re.Pattern[bytes]
) -> tuple[tuple[int, int, bytes], ...]:
    """(offset from where the file is mapped, size in bytes, mangled name) of those that match."""
    with _open(pid, region) as file:
        return _list_functions(file, pattern) if file is not None else ()


def derive(pid: int, region: Region, make: Callable[[ElfImage], _T]) -> _T | None:
    """What ``make`` makes of the file; None if it cannot be read."""
    with _open(pid, region) as file:
        made: _T | None = _derive(file, make) if file is not None else None
        return made


@contextmanager
def _open(pid: int, region: Region) -> Iterator[_File | None]:
    """The file that is mapped there, and no other one that has its path by now."""
    flags = os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK
    try:
        fd = os.open(f"/proc/{pid}/root{region.path}", flags)
    except OSError:
        yield None
        return
    try:
        facts = os.fstat(fd)
        is_mapped = facts.st_ino == region.inode
        yield _File(facts.st_dev, facts.st_ino, facts.st_mtime_ns, fd) if is_mapped else None
    finally:
        os.close(fd)


# The monitor loads this module, and leaves the work to a child.


@lru_cache(maxsize=256)
def _find_export(file: _File, name: str) -> tuple[int, int] | None:
    from perimortem.binary.elf_image import ElfImage
    from perimortem.symbols.elf_symbols import find_elf_object

    try:
        image = ElfImage(partial(_read_part, file.fd))
        found = find_elf_object(image, ".dynsym", name)
        return (found[0] - image.preferred_base, found[1]) if found is not None else None
    except MalformedInput:
        return None


@lru_cache(maxsize=64)
def _list_functions(file: _File, pattern: re.Pattern[bytes]) -> tuple[tuple[int, int, bytes], ...]:
    from perimortem.binary.elf_image import ElfImage
    from perimortem.symbols.elf_symbols import find_elf_functions

    try:
        image = ElfImage(partial(_read_part, file.fd))
        base = image.preferred_base
        return tuple((at - base, size, n) for at, size, n in find_elf_functions(image, pattern))
    except MalformedInput:
        return ()


@lru_cache(maxsize=64)
def _derive(file: _File, make: Callable[[ElfImage], Any]) -> Any:
    from perimortem.binary.elf_image import ElfImage

    try:
        return make(ElfImage(partial(_read_part, file.fd)))
    except MalformedInput:
        return None


def _read_part(fd: int, offset: int, size: int) -> bytes:
    """Fewer bytes where there are none: the file may be made up."""
    try:
        return os.pread(fd, size, offset)
    except (OSError, OverflowError):
        return b""
