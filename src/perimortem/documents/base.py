"""What the documents have in common."""

from __future__ import annotations

import json
from typing import Annotated

import msgspec
from msgspec import Meta

Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
"""RFC 3339 in UTC, with microseconds."""
Hex = Annotated[str, Meta(pattern=r"^0x[0-9a-f]+$")]
"""A number of up to 64 bits."""


class Document(msgspec.Struct, frozen=True):
    """A part of a document. It cannot be changed; keys that a newer version added are ignored."""


def encode(document: Document, *, indent: int | None = None) -> str:
    """As JSON in ASCII. The payload of an event is hostile: numbers of any size, broken text."""
    return json.dumps(msgspec.to_builtins(document), indent=indent)
