"""Recorder bytes to facts. Every byte comes from a process that may be broken or hostile.

Nothing here trusts a count or an offset of the file: geometry is checked against the real length,
names are made printable, and a beat from the future is rejected. Pure: bytes in, records out.
"""

from __future__ import annotations

import struct
import zlib
from collections.abc import Iterator
from pathlib import Path

from perimortem.errors import MalformedInput
from perimortem.model.caller import ExitCaller
from perimortem.model.process import ProcessRef
from perimortem.model.recording import (
    Event,
    ExitFunction,
    ExitNote,
    Heartbeat,
    Pulse,
    Recording,
)
from perimortem.recorder import layout
from perimortem.recorder.crash import decode_crash
from perimortem.recorder.layout import EventSlot, Header, HeaderFlag, LimitState, LiveWords
from perimortem.recorder.layout import ExitNote as RawExitNote
from perimortem.text import decode_text

# One struct per possible number of heartbeats: a sample reads no unused word.
_WORDS = tuple(struct.Struct(f"<{count}Q") for count in range(layout.MAX_HEARTBEATS + 1))
_FUTURE_TOLERANCE_NS = 1_000_000_000
_CRC_OFFSET = next(offset for name, _, offset, _ in Header.offsets() if name == "crc32")
_SLOT_CRC = next(offset for name, _, offset, _ in EventSlot.offsets() if name == "crc32")
_NOTE_STATE = next(offset for name, _, offset, _ in RawExitNote.offsets() if name == "state")
_NOTE_CRC = next(offset for name, _, offset, _ in RawExitNote.offsets() if name == "crc32")

_FUNCTIONS: dict[int, ExitFunction] = {
    layout.ExitKind.EXIT: ExitFunction.EXIT,
    layout.ExitKind.UNDERSCORE_EXIT: ExitFunction.UNDERSCORE_EXIT,
    layout.ExitKind.CAPITAL_EXIT: ExitFunction.CAPITAL_EXIT,
    layout.ExitKind.QUICK_EXIT: ExitFunction.QUICK_EXIT,
    layout.ExitKind.ABORT: ExitFunction.ABORT,
    layout.ExitKind.EXIT_PROCESS: ExitFunction.EXIT_PROCESS,
}
_WITHOUT_STATUS = (ExitFunction.ABORT, ExitFunction.EXIT_PROCESS)
_CALLERS: dict[int, ExitCaller] = {
    layout.ExitCaller.UNKNOWN: ExitCaller.UNKNOWN,
    layout.ExitCaller.PROGRAM: ExitCaller.PROGRAM,
    layout.ExitCaller.RUNTIME: ExitCaller.RUNTIME,
    layout.ExitCaller.LIBRARY: ExitCaller.LIBRARY,
    layout.ExitCaller.VIRTUAL_MACHINE: ExitCaller.VIRTUAL_MACHINE,
}


def read_header(page: bytes, file_size: int) -> Header:
    """The header of a recorder, checked; raises :class:`MalformedInput` saying what is wrong."""
    header = Header.read(page)
    if header.magic != layout.MAGIC:
        raise MalformedInput("not a recorder file", why="the magic bytes are missing")
    if zlib.crc32(page[:_CRC_OFFSET]) != header.crc32:
        raise MalformedInput("the recorder's header is damaged", why="its checksum does not match")
    if header.version != layout.VERSION:
        raise MalformedInput(
            f"recorder format {header.version} is unknown",
            why=f"this perimortem reads format {layout.VERSION}",
            remedy="use the same version of perimortem on both sides",
        )
    expected = layout.file_size(header.slot_count)
    if (
        header.slot_size != layout.EVENT_SLOT_SIZE
        or header.ring_offset != layout.RING_OFFSET
        or header.slot_count > layout.EVENT_SLOT_COUNT_MAX
        or header.exit_note_offset != layout.EXIT_NOTE_OFFSET
        or header.file_size != expected
    ):
        raise MalformedInput("the recorder's header is damaged", why="its geometry is impossible")
    if file_size != expected:
        raise MalformedInput(
            "the recorder is truncated", why=f"{file_size} of {expected} bytes are there"
        )
    return header


def read_own_header(page: bytes, file_size: int, path: Path, process: ProcessRef) -> Header:
    """The same, if the recorder at ``path`` is that of ``process``."""
    header = read_header(page, file_size)
    if (header.pid, header.start_time_ticks) != (process.pid, process.start_time_ticks):
        raise MalformedInput(
            f"{path} belongs to another process",
            why=f"it names pid {header.pid}, not {process.pid}",
        )
    return header


def read_process_name(page: bytes) -> str:
    """The name of the process, as the agent found it."""
    begin = layout.PROCESS_NAME_OFFSET
    return decode_text(page[begin : begin + layout.PROCESS_NAME_SIZE])


def _read_exec_name(page: bytes) -> str:
    begin = layout.EXEC_NAME_OFFSET
    return decode_text(page[begin : begin + layout.EXEC_NAME_SIZE])


def decode_pulse(page: bytes, process: ProcessRef, now_ns: int) -> Pulse:
    """The heartbeats of a first page whose header has already been checked.

    ``now_ns`` is CLOCK_MONOTONIC; a beat more than a second later than that is a lie or noise, and
    its heartbeat is left out: if trusted, it would hide a hang for ever.
    """
    live = LiveWords.read(page, layout.LIVE_WORDS_OFFSET)
    count = min(live.heartbeat_count, layout.MAX_HEARTBEATS)
    words = _WORDS[count]
    beats = words.unpack_from(page, layout.BEATS_OFFSET)
    holds = words.unpack_from(page, layout.HOLDS_OFFSET)
    limits = words.unpack_from(page, layout.LIMITS_OFFSET)
    heartbeats = []
    for i in range(count):
        limit = limits[i]
        if limit >> layout.LIMIT_STATE_SHIFT != LimitState.ACTIVE:
            continue
        beat_ns = beats[i] & ~layout.NEVER_BEATEN
        if beat_ns > now_ns + _FUTURE_TOLERANCE_NS:
            continue
        threshold_ms = limit & 0xFFFFFFFF
        start = layout.NAMES_OFFSET + i * layout.HEARTBEAT_NAME_SIZE
        heartbeats.append(
            Heartbeat(
                name=decode_text(page[start : start + layout.HEARTBEAT_NAME_SIZE]) or f"#{i}",
                beat_ns=beat_ns,
                beaten=not beats[i] & layout.NEVER_BEATEN,
                threshold_ns=threshold_ms * 1_000_000 or None,
                hold_until_ns=0 if holds[i] == layout.HOLD_PAUSED else holds[i],
                paused=holds[i] == layout.HOLD_PAUSED,
            )
        )
    said = live.goodbye_ns != 0
    return Pulse(
        process=process,
        heartbeats=tuple(heartbeats),
        goodbye_ns=live.goodbye_ns if said else None,
        goodbye_status=_signed_or_none(live.goodbye_status) if said else None,
        exec_ns=live.exec_ns or None,
    )


def _signed_or_none(word: int) -> int | None:
    return word if word <= 255 else None


def decode_recording(data: bytes, now_ns: int) -> Recording:
    """A complete recorder file. Raises :class:`MalformedInput` if even its header is invalid."""
    header = read_header(data[: layout.PAGE_SIZE], len(data))
    process = ProcessRef(header.pid, header.start_time_ticks)
    pulse = decode_pulse(data[: layout.PAGE_SIZE], process, now_ns)
    events = sorted(_read_events(data, header), key=lambda event: event.sequence)
    live = LiveWords.read(data, layout.LIVE_WORDS_OFFSET)
    soft_errors = []
    note, note_error = _read_exit_note(data, header.exit_note_offset)
    if note_error:
        soft_errors.append(note_error)
    crash, crash_error = decode_crash(data, layout.CRASH_AREA_OFFSET)
    if crash_error:
        soft_errors.append(crash_error)
    return Recording(
        pulse=pulse,
        events=tuple(events),
        events_lost=_count_lost(events, live.next_sequence),
        exit_note=note,
        crash=crash,
        created_at_ns=header.created_realtime_ns,
        soft_errors=tuple(soft_errors),
        is_forked=bool(header.flags & HeaderFlag.FORKED),
        exec_name=_read_exec_name(data) or None if pulse.exec_ns is not None else None,
    )


def _read_events(data: bytes, header: Header) -> Iterator[Event]:
    """Every complete event; a torn one (its CRC does not match) is skipped."""
    for index in range(header.slot_count):
        offset = header.ring_offset + index * header.slot_size
        slot = EventSlot.read(data, offset)
        if slot.sequence == 0 or (slot.sequence - 1) % header.slot_count != index:
            continue
        if slot.payload_size > layout.PAYLOAD_MAX:
            continue
        end = offset + layout.PAYLOAD_OFFSET + slot.payload_size
        image = bytearray(data[offset:end])
        image[_SLOT_CRC : _SLOT_CRC + 4] = bytes(4)
        if zlib.crc32(image) != slot.crc32:
            continue
        yield Event(
            sequence=slot.sequence,
            monotonic_ns=slot.monotonic_ns,
            name=decode_text(slot.name),
            payload=bytes(image[layout.PAYLOAD_OFFSET :]).decode("utf-8", "backslashreplace"),
        )


def _count_lost(events: list[Event], emitted: int) -> int:
    if not events:
        return 0 if emitted > 1 << 62 else emitted
    newest = events[-1].sequence
    # A damaged counter says nothing; the newest event is more reliable then.
    total = emitted if newest <= emitted < newest + (1 << 32) else newest
    return total - len(events)


def _read_exit_note(data: bytes, offset: int) -> tuple[ExitNote | None, str | None]:
    raw = RawExitNote.read(data, offset)
    if raw.state != layout.EXIT_NOTE_WRITTEN:
        return None, None
    image = bytearray(data[offset : offset + _NOTE_STATE])
    image[_NOTE_CRC : _NOTE_CRC + 4] = bytes(4)
    function = _FUNCTIONS.get(raw.kind)
    if zlib.crc32(image) != raw.crc32 or function is None:
        return None, "the note of who ended the process is damaged and was left out"
    return (
        ExitNote(
            function=function,
            status=None if function in _WITHOUT_STATUS else raw.status,
            tid=raw.tid,
            is_main_thread=raw.is_main_thread != 0,
            thread_name=decode_text(raw.thread_name),
            caller=_CALLERS.get(raw.caller, ExitCaller.UNKNOWN),
            module=decode_text(raw.module) or None,
            module_offset=raw.module_offset,
            monotonic_ns=raw.monotonic_ns,
        ),
        None,
    )
