"""Fixed-layout binary records, declared once and used by reader, writer and header generator.

A record class has fields whose annotations carry a ``struct`` code. Field order is file
order, little-endian; nothing is padded implicitly. This module knows no format: the formats are
declared in ``recorder.layout`` and ``minidump.format``.
"""

from __future__ import annotations

import struct
import sys
from collections.abc import Iterator
from typing import Annotated, Any, ClassVar, Self, dataclass_transform, get_args

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
    """Base of every declared record: little-endian, packed, frozen.

    Made by hand rather than by ``dataclasses``: dump workers start while a process crashes, and forty
    classes written and compiled at import are too much then.
    """

    _layout: ClassVar[struct.Struct]
    _nested: ClassVar[tuple[tuple[str, type[Record]], ...]] = ()
    _names: ClassVar[tuple[str, ...]] = ()
    _codes: ClassVar[tuple[str, ...]] = ()

    def __init_subclass__(cls) -> None:
        names, codes, nested = list(cls._names), list(cls._codes), list(cls._nested)
        known = vars(sys.modules[cls.__module__])
        for name, annotation in vars(cls).get("__annotations__", {}).items():
            # A name of the module, as all are: nothing has to be compiled to know what it means.
            hint = known[annotation] if isinstance(annotation, str) else annotation
            is_record = isinstance(hint, type) and issubclass(hint, Record)
            names.append(name)
            codes.append(f"{hint.size()}s" if is_record else get_args(hint)[1])
            if is_record:
                nested.append((name, hint))
        cls._names, cls._codes, cls._nested = tuple(names), tuple(codes), tuple(nested)
        cls._layout = struct.Struct("<" + "".join(codes))

    def __init__(self, *values: Any, **named: Any) -> None:
        if len(values) + len(named) != len(self._names):
            raise TypeError(f"{type(self).__name__} has the fields {', '.join(self._names)}")
        fields = self.__dict__
        fields.update(zip(self._names, values, strict=False))
        for name in self._names[len(values) :]:
            fields[name] = named[name]

    def __setattr__(self, name: str, _: object) -> None:
        raise AttributeError(f"{type(self).__name__}.{name} cannot be changed")

    def __eq__(self, other: object) -> bool:
        if type(other) is not type(self):
            return NotImplemented
        return self.__dict__ == other.__dict__

    def __hash__(self) -> int:
        return hash(tuple(self.__dict__.values()))

    def __repr__(self) -> str:
        shown = ", ".join(f"{name}={value!r}" for name, value in self.__dict__.items())
        return f"{type(self).__name__}({shown})"

    @classmethod
    def size(cls) -> int:
        """Size of the record in the file, in bytes."""
        return cls._layout.size

    @classmethod
    def read(cls, buffer: bytes | memoryview, offset: int = 0) -> Self:
        """Decode the record at ``offset``; raises :class:`TruncatedRecord` when it does not fit."""
        available = len(buffer) - offset if offset >= 0 else 0
        if offset < 0 or available < cls._layout.size:
            raise TruncatedRecord(cls, offset, cls.size(), max(0, available))
        record = object.__new__(cls)
        fields = record.__dict__
        fields.update(zip(cls._names, cls._layout.unpack_from(buffer, offset), strict=True))
        for name, kind in cls._nested:
            fields[name] = kind.read(fields[name])
        return record

    @classmethod
    def read_each(cls, buffer: bytes) -> Iterator[Self]:
        """Every whole record of a table. Not for those that hold other records."""
        layout, names = cls._layout, cls._names
        for values in layout.iter_unpack(buffer[: len(buffer) // layout.size * layout.size]):
            record = object.__new__(cls)
            record.__dict__.update(zip(names, values, strict=True))
            yield record

    def to_bytes(self) -> bytes:
        """The record as in the file, ``size()`` bytes."""
        fields = self.__dict__
        values = (fields[name] for name in self._names)
        return self._layout.pack(*(v.to_bytes() if isinstance(v, Record) else v for v in values))

    @classmethod
    def offsets(cls) -> list[tuple[str, str, int, int]]:
        """Each field as (name, struct code, offset in bytes, size in bytes)."""
        result: list[tuple[str, str, int, int]] = []
        position = 0
        for name, code in zip(cls._names, cls._codes, strict=True):
            length = struct.calcsize("<" + code)
            result.append((name, code, position, length))
            position += length
        return result
