"""Event 2 of Microsoft-Windows-Kernel-Process, ProcessStop: payload bytes to facts. Pure.

The layout is that of the provider's manifest, by version; it has no padding. Version 1 added the
counters, version 2 the sequence number, which identifies a process for all time since boot.
"""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.binary.record import U32, U64, Record
from perimortem.errors import MalformedInput
from perimortem.text import decode_text

PROVIDER = "{22FB2CD6-0E7B-422B-A0C7-2FAD1FD0E716}"
PROCESS_STOP = 2
KEYWORD_PROCESS = 0x10


class _StopV0(Record):
    process_id: U32
    create_time: U64
    exit_time: U64
    exit_code: U32
    token_elevation_type: U32
    handle_count: U32
    commit_charge: U64
    commit_peak: U64


class _Counters(Record):
    cpu_cycle_count: U64
    read_operation_count: U32
    write_operation_count: U32
    read_transfer_kib: U32
    write_transfer_kib: U32
    hard_fault_count: U32


class _StopV2(Record):
    process_id: U32
    process_sequence_number: U64
    create_time: U64
    exit_time: U64
    exit_code: U32
    token_elevation_type: U32
    handle_count: U32
    commit_charge: U64
    commit_peak: U64


@dataclass(frozen=True)
class ProcessStop:
    """The end of a process, as reported by the kernel. Times in 100 ns since 1601."""

    pid: int
    sequence_number: int | None
    """None before version 2."""
    create_time: int
    exit_time: int
    exit_code: int
    image_name: str


def decode_process_stop(version: int, payload: bytes) -> ProcessStop:
    """Raises :class:`MalformedInput` for a truncated payload. Later versions only append."""
    head: _StopV0 | _StopV2
    if version >= 2:
        head = _StopV2.read(payload)
        size = _StopV2.size() + _Counters.size()
    else:
        head = _StopV0.read(payload)
        size = _StopV0.size() + (_Counters.size() if version == 1 else 0)
    if len(payload) < size:
        raise MalformedInput(
            "an event ProcessStop is truncated", why=f"{len(payload)} of {size} bytes"
        )
    return ProcessStop(
        pid=head.process_id,
        sequence_number=head.process_sequence_number if isinstance(head, _StopV2) else None,
        create_time=head.create_time,
        exit_time=head.exit_time,
        exit_code=head.exit_code,
        image_name=decode_text(payload[size:]),
    )
