"""Separate debug information in the formats of Windows (PDB) and macOS (dSYM), through symbolic."""

from __future__ import annotations

import re
from collections.abc import Sequence
from functools import cached_property
from pathlib import Path
from typing import Any

from perimortem.errors import MalformedInput
from perimortem.model.stack import SourceLine
from perimortem.symbols.table import Function

_BYTES_MAX = 4 << 30
_AGE = re.compile(r"(.*)-([0-9a-f]{1,8})")


class DebugFile:
    """One file. Addresses are relative to the module's base."""

    def __init__(self, path: Path, identity: str | None) -> None:
        """``identity``: a GUID and an age in hex; a file for several machines has one of each.

        Raises ImportError without symbolic, OSError, MalformedInput.
        """
        from symbolic.debuginfo import Archive

        if path.stat().st_size > _BYTES_MAX:
            raise MalformedInput(f"{path} is larger than {_BYTES_MAX >> 30} GiB")
        try:
            found = {read_identity(o.debug_id): o for o in Archive.open(str(path)).iter_objects()}
        except Exception as error:  # symbolic raises a dozen kinds for a damaged file
            raise MalformedInput(f"{path} is no debug information that can be read") from error
        if not found:
            raise MalformedInput(f"{path} has no debug information")
        self.identity = (identity or "").upper()
        if self.identity not in found:
            self.identity = next(iter(found))
        self._object: Any = found[self.identity]

    @cached_property
    def _names(self) -> Any:
        try:
            return self._object.make_symcache()
        except Exception:  # noqa: BLE001 - a damaged file
            return None

    @cached_property
    def stack_records(self) -> Sequence[str]:
        """How to unwind: STACK records, without that word."""
        from symbolic.debuginfo import CfiCache

        try:
            with CfiCache.from_object(self._object).open_stream() as stream:
                text = stream.read().decode("utf-8", "backslashreplace")
        except Exception:  # noqa: BLE001 - a damaged file
            return ()
        return [line[6:] for line in text.splitlines() if line.startswith("STACK ")]

    def find(self, address: int) -> Function | None:
        """The function around it."""
        places = self._look_up(address)
        if not places or not places[-1].symbol:
            return None
        return Function(places[-1].sym_addr, 0, places[-1].symbol)

    def find_lines(self, address: int) -> tuple[SourceLine, ...]:
        """The innermost inlined function first, the function itself last; empty if unknown."""
        return tuple(
            SourceLine(place.full_path, place.line, place.symbol or None)
            for place in self._look_up(address)
            if place.line and place.full_path
        )

    def _look_up(self, address: int) -> list[Any]:
        if self._names is None or not 0 <= address < 1 << 32:
            return []
        try:
            return list(self._names.lookup(address))
        except Exception:  # noqa: BLE001 - a damaged file
            return []


def read_identity(text: str) -> str:
    """ "d64898b3-...-1" as symbol servers write it: D64898B3...1; without an age 0."""
    match = _AGE.fullmatch(text)
    guid, age = (match[1], match[2]) if match and text.count("-") > 4 else (text, "0")
    return (guid.replace("-", "") + age).upper()
