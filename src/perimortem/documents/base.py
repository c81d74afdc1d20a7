"""What the documents have in common."""

from __future__ import annotations

from typing import Annotated

import msgspec
from msgspec import Meta

Time = Annotated[str, Meta(pattern=r"^\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z$")]
"""RFC 3339 in UTC, with microseconds."""
Hex = Annotated[str, Meta(pattern=r"^0x[0-9a-f]+$")]
"""A number of up to 64 bits."""


class Document(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A part of a document: it cannot be changed, and has no other keys than these."""
