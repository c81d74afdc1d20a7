"""The modules, mappings and descriptors of a process, for the tables of a page."""

from __future__ import annotations

from perimortem.documents.base import Document, Hex


class Module(Document, frozen=True):
    """A loaded program or library."""

    path: str
    base: Hex
    size_bytes: int
    build_id: str | None


class Region(Document, frozen=True):
    """A mapping."""

    start: Hex
    size_bytes: int
    rights: str
    """ "rwx", with a dash for each that it lacks."""
    shared: bool
    path: str


class MemoryKind(Document, frozen=True):
    """Address space of one use."""

    kind: str
    size_bytes: int


class Handle(Document, frozen=True):
    """An open descriptor or handle."""

    number: int
    type: str
    name: str
    details: dict[str, str]


class Inventory(Document, frozen=True):
    """Long lists are truncated; their counts are not."""

    modules: list[Module]
    region_count: int
    regions: list[Region]
    kinds: list[MemoryKind]
    """Largest first."""
    handle_count: int | None
    handles: list[Handle] | None
    """Null where the dump has no such list."""
