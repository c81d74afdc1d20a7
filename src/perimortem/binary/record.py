"""Fixed-layout binary records, declared once and used by reader, writer and header generator.

A record class is a frozen dataclass whose annotations carry a ``struct`` code. Field order is file
order, little-endian; nothing is padded implicitly. This module knows no format: the formats are
declared in ``recorder.layout`` and ``minidump.format``.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, fields
from typing import (
    Annotated,
    Any,
    ClassVar,
    Self,
    cast,
    dataclass_transform,
    get_args,
    get_type_hints,
)

from perimortem.errors import MalformedInput

U8 = Annotated[int, "B"]
U16 = Annotated[int, "H"]
U32 = Annotated[int, "I"]
I32 = Annotated[int, "i"]
U64 = Annotated[int, "Q"]
Bytes4 = Annotated[bytes, "4s"]
Bytes8 = Annotated[bytes, "8s"]
Bytes16 = Annotated[bytes, "16s"]
Bytes24 = Annotated[bytes, "24s"]
Bytes32 = Annotated[bytes, "32s"]
Bytes256 = Annotated[bytes, "256s"]
Bytes512 = Annotated[bytes, "512s"]
Bytes1280 = Annotated[bytes, "1280s"]


class TruncatedRecord(MalformedInput):
    """The buffer ends before the record does."""

    def __init__(self, record: type, offset: int, needed: int, available: int) -> None:
        super().__init__(
            f"{record.__name__} at offset {offset:#x} needs {needed} bytes, {available} are left"
        )


@dataclass_transform(frozen_default=True)
class Record:
    """Base of every declared record: little-endian, packed."""

    _layout: ClassVar[struct.Struct]
    _nested: ClassVar[tuple[type[Record] | None, ...]]
    _names: ClassVar[tuple[str, ...]]

    def __init_subclass__(cls) -> None:
        dataclass(frozen=True)(cls)
        hints = get_type_hints(cls, include_extras=True)
        code = "<"
        nested: list[type[Record] | None] = []
        for field in fields(cast(Any, cls)):
            hint = hints[field.name]
            if isinstance(hint, type) and issubclass(hint, Record):
                code += f"{hint.size()}s"
                nested.append(hint)
            else:
                code += get_args(hint)[1]
                nested.append(None)
        cls._layout = struct.Struct(code)
        cls._nested = tuple(nested)
        cls._names = tuple(f.name for f in fields(cast(Any, cls)))

    @classmethod
    def size(cls) -> int:
        """Size of the record in the file, in bytes."""
        return cls._layout.size

    @classmethod
    def read(cls, buffer: bytes | memoryview, offset: int = 0) -> Self:
        """Decode the record at ``offset``; raises :class:`TruncatedRecord` when it does not fit."""
        available = len(buffer) - offset if offset >= 0 else 0
        if offset < 0 or available < cls.size():
            raise TruncatedRecord(cls, offset, cls.size(), max(0, available))
        raw = cls._layout.unpack_from(buffer, offset)
        return cls(*(kind.read(v) if kind else v for kind, v in zip(cls._nested, raw, strict=True)))

    def to_bytes(self) -> bytes:
        """The record as it stands in the file, ``size()`` bytes."""
        values = (getattr(self, name) for name in self._names)
        return self._layout.pack(*(v.to_bytes() if isinstance(v, Record) else v for v in values))

    @classmethod
    def offsets(cls) -> list[tuple[str, str, int, int]]:
        """Each field as (name, struct code, offset in bytes, size in bytes)."""
        hints = get_type_hints(cls, include_extras=True)
        result: list[tuple[str, str, int, int]] = []
        position = 0
        for name, kind in zip(cls._names, cls._nested, strict=True):
            code = f"{kind.size()}s" if kind else get_args(hints[name])[1]
            length = struct.calcsize("<" + code)
            result.append((name, code, position, length))
            position += length
        return result
