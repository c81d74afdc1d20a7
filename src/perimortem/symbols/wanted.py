"""What is looked for of a module, and where symbol servers keep it. Pure.

Source: debuginfod(8); "SymStore" (Microsoft); Breakpad's symbol supplier, which Tecken follows.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import StrEnum

from perimortem.model.snapshot import Module

_PART = re.compile(r"[^/\\\x00-\x1f]{1,255}")
_IDENTITY = re.compile(r"[0-9A-Fa-f]{8,128}")


class Wanted(StrEnum):
    """A kind of file."""

    PROGRAM = "program"
    """The module's own file: its code, and how to unwind it."""
    DEBUG = "debug information"
    """Of an ELF file, apart from it."""
    SYMBOLS = "symbol file"
    """Breakpad's, or a PDB."""


def list_keys(module: Module, wanted: Wanted) -> Iterator[str]:
    """The paths below a server's URL, the most telling first; nothing for a module without identity."""
    name = base_name(module.path)
    build_id = module.build_id.hex() if module.build_id is not None else None
    if wanted is Wanted.PROGRAM:
        if build_id is not None:
            yield f"buildid/{build_id}/executable"
        elif module.timestamp and _PART.fullmatch(name):
            yield f"{name}/{module.timestamp:08X}{module.size:x}/{name}"
    elif wanted is Wanted.DEBUG:
        if build_id is not None:
            yield f"buildid/{build_id}/debuginfo"
    else:
        yield from _list_symbol_keys(module, name)


def _list_symbol_keys(module: Module, name: str) -> Iterator[str]:
    identity = module.debug_id
    if identity is None and module.build_id is not None:
        identity = derive_debug_id(module.build_id)
    pdb = base_name(module.debug_file)
    is_named = _PART.fullmatch(name) and name not in (".", "..")
    if identity is None or not _IDENTITY.fullmatch(identity) or not is_named:
        return
    if pdb.lower().endswith(".pdb") and _PART.fullmatch(pdb):
        yield f"{pdb}/{identity}/{pdb}"
        yield f"{pdb}/{identity}/{pdb[:-4]}.sym"
    else:
        yield f"{name}/{identity}/{name}.sym"


def derive_debug_id(build_id: bytes) -> str:
    """The identity that Breakpad makes of a build-id: its first 16 bytes as a GUID, and the age 0."""
    padded = build_id[:16].ljust(16, b"\0")
    first, second, third = (
        int.from_bytes(padded[a:b], "little") for a, b in ((0, 4), (4, 6), (6, 8))
    )
    return f"{first:08X}{second:04X}{third:04X}{padded[8:].hex().upper()}0"


def base_name(path: str) -> str:
    """Of a path of any system."""
    return path.replace("\\", "/").rsplit("/", 1)[-1]
