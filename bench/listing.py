"""How fast a dump with a million memory ranges is opened and listed, beside two other readers."""

from __future__ import annotations

import logging
import struct
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.common import median
from perimortem.dumping.open import open_bytes
from perimortem.minidump.reader import MinidumpFile
from perimortem.report.minidump.document import describe_dump
from perimortem.report.minidump.text import render_dump

_RANGES = 1_000_000
_ROUNDS = 3


def measure() -> Iterator[str]:
    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "million.dmp"
        _write_dump(path)
        ours = median([_time(_list_ours, path) for _ in range(_ROUNDS)])
        yield f"a million ranges, listed: {ours * 1e3:.0f} ms (median of {_ROUNDS})"
        for name, parse, rounds in (
            ("udmp-parser (C++)", _parse_udmp, _ROUNDS),
            ("minidump (skelsec)", _parse_skelsec, 1),
        ):
            theirs = median([_time(parse, path) for _ in range(rounds)])
            yield f"{name} only opens it in {theirs * 1e3:.0f} ms: {theirs / ours:.1f} times as long"


def _time(work: Callable[[Path], object], path: Path) -> float:
    start = time.perf_counter()
    work(path)
    return time.perf_counter() - start


def _list_ours(path: Path) -> str:
    with open_bytes(path) as (read, size):
        return render_dump(describe_dump(MinidumpFile(read, size), limit=200), limit=200)


def _parse_udmp(path: Path) -> object:
    import udmp_parser

    dump = udmp_parser.UserDumpParser()
    assert dump.Parse(path)
    return dump


def _parse_skelsec(path: Path) -> object:
    from minidump.minidumpfile import MinidumpFile as SkelsecFile

    logging.getLogger().setLevel(logging.CRITICAL)
    return SkelsecFile.parse(str(path))


def _write_dump(path: Path) -> None:
    """Sixteen bytes of each page, every second page, and their mappings."""
    addresses = range(0x10000, 0x10000 + _RANGES * 8192, 8192)
    infos = struct.pack("<IIQ", 16, 48, _RANGES) + b"".join(
        struct.pack("<QQIIQIIII", at, at, 4, 0, 4096, 0x1000, 4, 0x20000, 0) for at in addresses
    )
    system = struct.pack("<HHHBBIIIII", 9, 6, 0, 2, 1, 10, 0, 19045, 2, 0).ljust(56, b"\0")
    streams = [(7, system), (3, struct.pack("<I", 0)), (4, struct.pack("<I", 0)), (16, infos)]
    at = 32 + 12 * (len(streams) + 1)
    directory, body = b"", b""
    for kind, content in streams:
        directory += struct.pack("<III", kind, len(content), at + len(body))
        body += content
    size = 16 + 16 * _RANGES
    directory += struct.pack("<III", 9, size, at + len(body))
    body += struct.pack("<QQ", _RANGES, at + len(body) + size)
    body += b"".join(struct.pack("<QQ", address, 16) for address in addresses)
    head = struct.pack("<4sIIIIIQ", b"MDMP", 0xA793, len(streams) + 1, 32, 0, 0, 2)
    path.write_bytes(head + directory + body + bytes(16 * _RANGES))
