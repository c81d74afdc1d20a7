"""Changed bytes: what damage, cuts and malice make of an input."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

import random
import struct
from collections.abc import Sequence

_GREAT = (
    0,
    1,
    0x7F,
    0x80,
    0xFF,
    0x7FFF,
    0xFFFF,
    0x7FFFFFFF,
    0x80000000,
    0xFFFFFFFF,
    (1 << 63),
    (1 << 64) - 1,
)
_ROUNDS_MAX = 8
_SIZE_MAX = 1 << 16


def mutate(seeds: Sequence[bytes], chance: random.Random) -> bytes:
    """One of the seeds with some changes; at most 64 KiB, or as long as the seed."""
    data = bytearray(chance.choice(seeds))
    size_max = max(_SIZE_MAX, len(data))
    for _ in range(chance.randrange(1, _ROUNDS_MAX)):
        change = chance.choice(_CHANGES)
        change(data, seeds, chance)
    return bytes(data[:size_max])


def _place(data: bytearray, chance: random.Random) -> int:
    return chance.randrange(len(data) + 1)


def _flip(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] ^= 1 << chance.randrange(8)


def _put_byte(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    if data:
        data[chance.randrange(len(data))] = chance.randrange(256)


def _put_number(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    """A great or small one, where one may lie."""
    form = chance.choice("BHIQ")
    size = struct.calcsize(form)
    if len(data) >= size:
        number = chance.choice(_GREAT) & ((1 << (8 * size)) - 1)
        at = chance.randrange(len(data) - size + 1)
        if chance.random() < 0.7:
            at -= at % size
        struct.pack_into(f"<{form}", data, at, number)


def _cut(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    if chance.random() < 0.3:
        del data[_place(data, chance) :]


def _remove(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    at = _place(data, chance)
    del data[at : at + chance.randrange(1, 64)]


def _insert(data: bytearray, seeds: Sequence[bytes], chance: random.Random) -> None:
    """A piece of any seed."""
    other = chance.choice(seeds)
    begin = chance.randrange(len(other) + 1)
    at = _place(data, chance)
    data[at:at] = other[begin : begin + chance.randrange(1, 256)]


def _repeat(data: bytearray, _seeds: Sequence[bytes], chance: random.Random) -> None:
    begin = _place(data, chance)
    piece = bytes(data[begin : begin + chance.randrange(1, 64)])
    data[begin:begin] = piece * chance.choice((1, 2, 100))


_CHANGES = (_flip, _put_byte, _put_number, _put_number, _cut, _remove, _insert, _repeat)
