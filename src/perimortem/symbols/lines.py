"""Files, lines and inlined functions: drgn for DWARF, symbolic for PDB and where drgn is unavailable.

Both belong to perimortem[lines]; without them frames have names and no lines. Both are imported on
first use: the import takes longer than most answers.
"""

from __future__ import annotations

import importlib.util
import re
import sys
from pathlib import Path
from typing import Any, Protocol

from perimortem.binary.elf import EM_386, EM_AARCH64, EM_ARM, EM_X86_64
from perimortem.binary.elf_image import ElfImage
from perimortem.model.stack import SourceLine

_NAME = re.compile(r"(?:#\d+\s+)?(.*) at \S")
_SPACING = 1 << 40
"""The distance between modules in drgn's address space."""
_SIZE_OF_PDB_MAX = 1 << 30


class LineFinder(Protocol):
    """``find(address)``: the innermost inlined function first, the function itself last; or nothing.

    Addresses are the image's own.
    """

    def find(self, address: int) -> tuple[SourceLine, ...]: ...


def open_lines(path: Path, image: ElfImage | None) -> LineFinder | None:
    """None if no library for it is installed, or the file has no lines."""
    if image is not None and not any(
        section.name in (".debug_line", ".zdebug_line") for section in image.sections
    ):
        return None
    # drgn knows no inlined functions of Rust; otherwise it knows more, and opens at once.
    is_rust = image is not None and b"rustc" in image.read_section(".comment")
    if image is not None and sys.platform == "linux" and not (is_rust and _has_symbolic()):
        try:
            return _Drgn(path, image)
        except Exception:  # noqa: BLE001 - what drgn raises for a damaged file
            pass
    try:
        return _Symbolic(path)
    except ImportError:
        return None


def _has_symbolic() -> bool:
    return importlib.util.find_spec("symbolic") is not None


class _Drgn:
    """DWARF of one file, through drgn."""

    def __init__(self, path: Path, image: ElfImage) -> None:
        import drgn

        architecture = {
            EM_386: drgn.Architecture.I386,
            EM_ARM: drgn.Architecture.ARM,
            EM_X86_64: drgn.Architecture.X86_64,
            EM_AARCH64: drgn.Architecture.AARCH64,
        }.get(image.machine, drgn.Architecture.UNKNOWN)
        program: Any = drgn.Program(drgn.Platform(architecture))
        module = program.extra_module(str(path), 0, create=True)
        self._moved = _SPACING - image.preferred_base
        module.address_range = (_SPACING, 2 * _SPACING)
        module.try_file(str(path))
        if module.debug_file_status != drgn.ModuleFileStatus.HAVE:
            raise LookupError("no debugging information")
        self._moved = module.debug_file_bias
        self._program = program

    def find(self, address: int) -> tuple[SourceLine, ...]:
        try:
            places = self._program.source_location(address + self._moved)
            names = str(places).splitlines()
            return tuple(
                SourceLine(place.filename, place.line, _parse_name(names[index]))
                for index, place in enumerate(places)
                if place.line and index < len(names)
            )
        except Exception:  # noqa: BLE001 - a bare one is what drgn raises for damaged DWARF
            return ()


def _parse_name(text: str) -> str | None:
    match = _NAME.match(text)
    return match[1].strip() or None if match else None


class _Symbolic:
    """PDB, or DWARF, through symbolic."""

    def __init__(self, path: Path) -> None:
        from symbolic.debuginfo import Archive

        self._cache: Any = None
        try:
            if path.stat().st_size > _SIZE_OF_PDB_MAX:
                return
            self._cache = next(iter(Archive.open(str(path)).iter_objects())).make_symcache()
        except Exception:  # noqa: BLE001 - errors of a file, a dozen kinds of them
            self._cache = None

    def find(self, address: int) -> tuple[SourceLine, ...]:
        if self._cache is None or not 0 <= address < 1 << 64:
            return ()
        return tuple(
            SourceLine(place.full_path, place.line, place.symbol or None)
            for place in self._cache.lookup(address)
            if place.line
        )
