"""Lines from DWARF through drgn, imported on first use: that takes longer than most answers."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from perimortem.binary.elf import EM_386, EM_AARCH64, EM_ARM, EM_X86_64
from perimortem.binary.elf_image import ElfImage
from perimortem.model.stack import SourceLine

_NAME = re.compile(r"(?:#\d+\s+)?(.*) at \S")
_SPACING = 1 << 40
"""The distance between modules in drgn's address space."""


class DrgnLines:
    """DWARF of one file, through drgn."""

    def __init__(self, path: Path, image: ElfImage) -> None:
        """Raises ImportError, and what drgn raises for a file that it does not read."""
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
                SourceLine(place.filename or "?", place.line, _parse_name(names[index]))
                for index, place in enumerate(places)
                if place.line and index < len(names)
            )
        except Exception:  # noqa: BLE001 - a bare one is what drgn raises for damaged DWARF
            return ()


def _parse_name(text: str) -> str | None:
    match = _NAME.match(text)
    return match[1].strip() or None if match else None
