"""What `symbols check` found for the modules of a dump, and `symbols find` for a build-id.

Schemas: docs/symbol-check.schema.json, docs/found-files.schema.json.
"""

from __future__ import annotations

from typing import Literal

from perimortem.documents.base import Document, Hex


class TriedPlace(Document, frozen=True):
    """One place that was looked at, or a server that was asked."""

    wanted: str
    place: str
    outcome: str


class ModuleSymbols(Document, frozen=True):
    """One module. Null: there is none, or it was not found."""

    module: str
    base: Hex
    build_id: str | None
    debug_id: str | None
    program: str | None
    """The module's own file."""
    debug: str | None
    """Separate debug information, or a symbol file."""
    names: str
    """Where names come from."""
    has_lines: bool
    missing: str | None
    """What is, and how to get it."""
    tried: list[TriedPlace]


class SymbolCheck(Document, frozen=True):
    """All modules of one dump or process."""

    schema_version: Literal[1]
    file: str
    modules: list[ModuleSymbols]


class FoundFiles(Document, frozen=True):
    """The files of one build-id. Null: not found."""

    schema_version: Literal[1]
    build_id: str
    program: str | None
    """The program or library itself."""
    debug: str | None
    """Separate debug information."""
    tried: list[TriedPlace]
