"""The messages between monitor and dump worker: a request; then the hold, progress, the result.

Each is one line of JSON.
"""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from perimortem.dumping.progress import Progress
from perimortem.model.caller import ExitCaller
from perimortem.model.crash import Crash
from perimortem.model.dump import DumpFormat, DumpOptions, DumpResult, MinidumpType, Pause
from perimortem.model.process import ProcessRef
from perimortem.model.snapshot import Registers


@dataclass(frozen=True)
class Hold:
    """The state of the target before the dump, for the case that the worker dies."""

    suspended: tuple[tuple[int, int], ...] = ()
    """(tid, suspend count) of each thread: on Windows."""
    since_ticks: int = 0
    """Clones created after that, in ticks since boot, are ours: on Linux."""


@dataclass(frozen=True)
class DumpRequest:
    """What the worker is to do."""

    process: ProcessRef
    path: Path
    options: DumpOptions
    size_limit_bytes: int
    crash: Crash | None = None
    """The crash handler's report of the fault."""
    at_exit: bool = False
    """Wait until it is about to exit."""
    recorder: Path | None = None
    """The path of its flight recorder, if it has one."""
    with_progress: bool = False
    """Report the progress of the dump periodically."""


def encode_request(request: DumpRequest) -> bytes:
    fields = {
        "pid": request.process.pid,
        "start_time_ticks": request.process.start_time_ticks,
        "path": str(request.path),
        "options": asdict(request.options) | {"types": int(request.options.types)},
        "size_limit_bytes": request.size_limit_bytes,
        "recorder": str(request.recorder) if request.recorder else None,
        "with_progress": request.with_progress,
        "at_exit": request.at_exit,
        "crash": request.crash and _encode_crash(request.crash),
    }
    return json.dumps(fields).encode() + b"\n"


def decode_request(line: bytes) -> DumpRequest:
    fields: dict[str, Any] = json.loads(line)
    return DumpRequest(
        process=ProcessRef(fields["pid"], fields["start_time_ticks"]),
        path=Path(fields["path"]),
        options=_decode_options(fields["options"]),
        size_limit_bytes=fields["size_limit_bytes"],
        at_exit=fields.get("at_exit", False),
        crash=_decode_crash(fields["crash"]) if fields.get("crash") else None,
        recorder=Path(fields["recorder"]) if fields.get("recorder") else None,
        with_progress=fields.get("with_progress", False),
    )


def _decode_options(fields: dict[str, Any]) -> DumpOptions:
    return DumpOptions(
        types=MinidumpType(fields["types"]),
        pause=Pause(fields["pause"]),
        format=DumpFormat(fields["format"]),
        compress=fields["compress"],
        include_dontdump=fields["include_dontdump"],
    )


def _encode_crash(crash: Crash) -> dict[str, Any]:
    fields = asdict(crash)
    fields["windows_context"] = crash.windows_context.hex()
    registers = crash.registers
    if registers is not None:
        floating = registers.floating_point
        fields["registers"] = [registers.general, floating.hex() if floating else None]
    return fields


def _decode_crash(fields: dict[str, Any]) -> Crash:
    registers = fields.pop("registers")
    if registers is not None:
        general, floating = registers
        registers = Registers(general, bytes.fromhex(floating) if floating else None)
    fields["caller"] = ExitCaller(fields["caller"])
    fields["windows_context"] = bytes.fromhex(fields["windows_context"])
    return Crash(**fields, registers=registers)


def encode_result(result: DumpResult) -> bytes:
    return json.dumps(asdict(result)).encode() + b"\n"


def encode_hold(hold: Hold) -> bytes:
    return json.dumps(asdict(hold)).encode() + b"\n"


def decode_hold(answer: bytes) -> Hold | None:
    """The first line of a worker's answer; None if it died before."""
    try:
        fields: dict[str, Any] = json.loads(answer.split(b"\n", 1)[0])
        suspended = tuple((int(tid), int(count)) for tid, count in fields["suspended"])
        return Hold(suspended, int(fields["since_ticks"]))
    except (ValueError, TypeError, KeyError, RecursionError):
        return None


def encode_progress(progress: Progress) -> bytes:
    return json.dumps(asdict(progress)).encode() + b"\n"


def decode_progress(line: bytes) -> Progress | None:
    """None for any other line."""
    try:
        return Progress(**json.loads(line))
    except (ValueError, TypeError, RecursionError):
        return None


def decode_result(answer: bytes) -> DumpResult:
    """The last line of a worker's answer. Raises ValueError for anything that no worker writes."""
    try:
        fields: dict[str, Any] = json.loads(answer.rstrip(b"\n").rpartition(b"\n")[2])
        fields["types"] = MinidumpType(fields["types"])
        fields["pause"] = Pause(fields["pause"])
        fields["soft_errors"] = tuple(fields["soft_errors"])
        return DumpResult(**fields)
    except (TypeError, KeyError, AttributeError, IndexError, RecursionError) as error:
        raise ValueError(f"not a result of a dump worker: {error}") from error
