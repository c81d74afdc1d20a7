"""Streams of our own, and those that we share with Mozilla. Pure."""

from __future__ import annotations

import json
from math import isfinite
from typing import Any

from msgspec import UNSET

from perimortem.documents import dump_listing as documents
from perimortem.errors import MalformedInput
from perimortem.minidump.format import StreamType
from perimortem.minidump.reader import MinidumpFile, StreamEntry
from perimortem.report.minidump.describing import Describe, list_head
from perimortem.text import printable


def _describe_soft_errors(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    errors = _read_json(dump.read_stream(entry).rstrip(b"\0"), entry)
    return documents.SoftErrors(*list_head(entry), soft_errors=errors)


def _describe_record(
    dump: MinidumpFile, entry: StreamEntry, _limit: int | None
) -> documents.Stream:
    return documents.Record(*list_head(entry), record=_read_json(dump.read_stream(entry), entry))


def _describe_xstates(
    dump: MinidumpFile, entry: StreamEntry, limit: int | None
) -> documents.Stream:
    states = dump.read_xstates(entry)
    return documents.XStateList(
        *list_head(entry),
        count=len(states),
        xstates=[
            documents.XState(state.thread_id, state.rva, state.data_size)
            for state in states[:limit]
        ],
    )


def _describe_tokens(dump: MinidumpFile, entry: StreamEntry, limit: int | None) -> documents.Stream:
    """Windows' tokens by size; ours are JSON."""
    tokens = dump.read_tokens(entry)
    rows = []
    for info, content in tokens[:limit]:
        token = _read_json(content, entry) if content[:1] == b"{" else UNSET
        rows.append(documents.Token(info.token_id, info.token_size, token))
    return documents.TokenList(*list_head(entry), count=len(tokens), tokens=rows)


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
