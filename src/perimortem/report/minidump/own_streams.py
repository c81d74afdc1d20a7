"""Streams of our own, and those that we share with Mozilla. Pure."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from perimortem.errors import MalformedInput
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile, StreamEntry
from perimortem.report.minidump.describing import Describe
from perimortem.text import printable


def _describe_soft_errors(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> dict[str, Any]:
    return {"soft_errors": _read_json(dump.read_stream(entry).rstrip(b"\0"), entry)}


def _describe_record(dump: MinidumpFile, entry: StreamEntry, _limit: int | None) -> dict[str, Any]:
    return {"record": _read_json(dump.read_stream(entry), entry)}


def _describe_xstates(dump: MinidumpFile, entry: StreamEntry, limit: int | None) -> dict[str, Any]:
    states = dump.read_xstates(entry)
    return {
        "count": len(states),
        "xstates": [
            {"id": state.thread_id, "rva": state.rva, "size_bytes": state.data_size}
            for state in states[:limit]
        ],
    }


def _describe_tokens(dump: MinidumpFile, entry: StreamEntry, limit: int | None) -> dict[str, Any]:
    """Windows' tokens by size; ours are JSON."""
    tokens = dump.read_tokens(entry)
    rows = []
    for info, content in tokens[:limit]:
        row: dict[str, Any] = {"token_id": info.token_id, "size_bytes": info.token_size}
        if content[:1] == b"{":
            row["token"] = _read_json(content, entry)
        rows.append(row)
    return {"count": len(tokens), "tokens": rows}


def _read_json(raw: bytes, entry: StreamEntry) -> Any:
    try:
        return _make_printable(json.loads(raw))
    except (ValueError, RecursionError) as error:
        raise MalformedInput(f"{entry.name} is not JSON", why=str(error)) from error


def _make_printable(value: Any) -> Any:
    """Names and texts of an untrusted file are escaped, never sent raw to a terminal."""
    if isinstance(value, str):
        return printable(value)
    if isinstance(value, list):
        return [_make_printable(item) for item in value]
    if isinstance(value, dict):
        return {printable(key): _make_printable(item) for key, item in value.items()}
    if isinstance(value, float) and not isfinite(value):  # not valid JSON
        return None
    return value


OWN_STREAMS: dict[int, Describe] = {
    StreamType.MozSoftErrors: _describe_soft_errors,
    StreamType.PerimortemRecord: _describe_record,
    StreamType.PerimortemXstate: _describe_xstates,
    StreamType.TokenStream: _describe_tokens,
}
