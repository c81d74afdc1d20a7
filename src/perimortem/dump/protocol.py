"""What monitor and dump worker say to each other: one JSON line each way."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perimortem.model.dump import DumpResult, MinidumpType
from perimortem.model.process import ProcessRef


@dataclass(frozen=True)
class DumpRequest:
    """What the worker is to do."""

    process: ProcessRef
    path: Path
    types: MinidumpType
    size_limit_bytes: int


def encode_request(request: DumpRequest) -> bytes:
    fields = {
        "pid": request.process.pid,
        "start_time_ticks": request.process.start_time_ticks,
        "path": str(request.path),
        "types": int(request.types),
        "size_limit_bytes": request.size_limit_bytes,
    }
    return json.dumps(fields).encode() + b"\n"


def decode_request(line: bytes) -> DumpRequest:
    fields: dict[str, Any] = json.loads(line)
    return DumpRequest(
        process=ProcessRef(fields["pid"], fields["start_time_ticks"]),
        path=Path(fields["path"]),
        types=MinidumpType(fields["types"]),
        size_limit_bytes=fields["size_limit_bytes"],
    )


def encode_result(result: DumpResult) -> bytes:
    return json.dumps(asdict(result)).encode() + b"\n"


def decode_result(line: bytes) -> DumpResult:
    """Raises ValueError for anything that a worker does not write."""
    try:
        fields: dict[str, Any] = json.loads(line)
        fields["types"] = MinidumpType(fields["types"])
        fields["soft_errors"] = tuple(fields["soft_errors"])
        return DumpResult(**fields)
    except (TypeError, KeyError, AttributeError) as error:
        raise ValueError(f"not a result of a dump worker: {error}") from error
