"""Files, lines and inlined functions of an ELF image, by the fastest library that is installed.

drgn and symbolic belong to perimortem[lines]; they have no wheels for every system. pyelftools runs
everywhere, and takes longer.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Protocol

from perimortem.binary.elf_image import ElfImage
from perimortem.model.stack import SourceLine


class LineFinder(Protocol):
    """``find(address)``: the innermost inlined function first, the function itself last; or nothing.

    Addresses are the image's own.
    """

    def find(self, address: int) -> tuple[SourceLine, ...]: ...


class NoLines(Exception):
    """No library can read them; says why."""


def open_lines(path: Path, image: ElfImage) -> LineFinder | None:
    """None if the file has no lines. Raises NoLines."""
    sections = [
        section for section in image.sections if section.name.startswith((".debug_", ".zdebug_"))
    ]
    if not any(section.name.endswith("debug_line") for section in sections):
        return None
    sizes = sum(section.size for section in sections)
    for open_reader in _list_readers(image):
        try:
            return open_reader(path, image, sizes)
        except (ImportError, _Refused):
            continue
    raise NoLines("its lines need another library: pip install 'perimortem[lines]'")


class _Refused(Exception):
    """Not for this file."""


def _list_readers(image: ElfImage) -> Iterator[Callable[[Path, ElfImage, int], LineFinder]]:
    """The fastest first. drgn opens at once and knows most, but no inlined functions of Rust."""
    if b"rustc" in image.read_section(".comment"):
        yield _open_symbolic
    yield from (_open_drgn, _open_symbolic, _open_elftools)


def _open_drgn(path: Path, image: ElfImage, _: int) -> LineFinder:
    if sys.platform != "linux":
        raise _Refused
    from perimortem.symbols.drgn_lines import DrgnLines

    try:
        return DrgnLines(path, image)
    except ImportError:
        raise
    except Exception as error:  # what it raises for a damaged file
        raise _Refused from error


def _open_symbolic(path: Path, _image: ElfImage, _: int) -> LineFinder:
    from perimortem.symbols.symbolic_lines import SymbolicLines

    return SymbolicLines(path)


def _open_elftools(path: Path, _image: ElfImage, size: int) -> LineFinder:
    from perimortem.symbols.elftools_lines import BYTES_MAX, ElftoolsLines

    if size > BYTES_MAX:
        raise _Refused
    return ElftoolsLines(path)
