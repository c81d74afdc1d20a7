"""The recorder file, byte by byte: the one definition from which everything else is derived.

``tools/generate_headers.py`` writes ``native/src/recorder_layout.h`` from this file, with a
static assertion for each offset; ``recorder.decode`` reads by it. ``docs/recorder.md`` explains the
layout. Only aligned 8-byte words change while a target runs: a reader that copies the
first page with one ``pread`` sees each of them whole (it may see two words of different ages).

    page 0   Header, LiveWords, beat words, hold words, limit words, heartbeat names
    page 1   CrashNote: the fault that the crash handler saw
    page 2   ExitNote: the caller of exit, _exit, abort ...
    page 3+  ring of event slots
"""

from __future__ import annotations

from enum import IntEnum, IntFlag

from perimortem.binary.record import (
    I32,
    U32,
    U64,
    Bytes8,
    Bytes16,
    Bytes32,
    Bytes256,
    Bytes512,
    Bytes1280,
    Record,
)

MAGIC = b"PERIMREC"
VERSION = 1
PAGE_SIZE = 4096

MAX_HEARTBEATS = 64
HEARTBEAT_NAME_SIZE = 32

CRASH_AREA_OFFSET = 1 * PAGE_SIZE
CRASH_AREA_SIZE = PAGE_SIZE
CRASH_AREA_VERSION = 1
EXIT_NOTE_OFFSET = 2 * PAGE_SIZE
RING_OFFSET = 3 * PAGE_SIZE

EVENT_SLOT_SIZE = 512
EVENT_SLOT_COUNT_DEFAULT = 128
EVENT_SLOT_COUNT_FORKED = 32
EVENT_SLOT_COUNT_MAX = 65536
EVENT_NAME_SIZE = 32


class Header(Record):
    """Written once, before ``LiveWords.ready``; ``crc32`` covers every byte before it."""

    magic: Bytes8
    version: U32
    header_size: U32
    file_size: U64
    pid: U32
    flags: U32
    start_time_ticks: U64
    boot_id: Bytes16
    created_monotonic_ns: U64
    created_realtime_ns: U64
    ring_offset: U32
    slot_size: U32
    slot_count: U32
    crash_area_offset: U32
    crash_area_size: U32
    crash_area_version: U32
    exit_note_offset: U32
    heartbeat_max: U32
    parent_pid: U32
    monitor_pid: U32
    spare: U32
    crc32: U32


class LiveWords(Record):
    """Aligned words that change while the target runs."""

    ready: U64
    heartbeat_count: U64
    next_sequence: U64
    goodbye_ns: U64
    goodbye_status: U64
    events_refused: U64
    exec_ns: U64


# LiveWords.exec_ns: an exec in this process was begun then. The new image creates a new file if it
# carries the agent: a file that still has the mark at the end belongs to an image that is gone. The
# exec name is the file name of the program that was executed then; empty if it is not known.
LIVE_WORDS_OFFSET = 256
PROCESS_NAME_OFFSET = 384
PROCESS_NAME_SIZE = 32
EXEC_NAME_OFFSET = 416
EXEC_NAME_SIZE = 64
BEATS_OFFSET = 512
HOLDS_OFFSET = BEATS_OFFSET + 8 * MAX_HEARTBEATS
LIMITS_OFFSET = HOLDS_OFFSET + 8 * MAX_HEARTBEATS
NAMES_OFFSET = LIMITS_OFFSET + 8 * MAX_HEARTBEATS

# Beat word: CLOCK_MONOTONIC in ns of the last beat; with this bit, of the registration (no beat yet).
NEVER_BEATEN = 1 << 63
# Hold word: judged from this CLOCK_MONOTONIC time on (extend), or not before resume (pause).
HOLD_PAUSED = (1 << 64) - 1
# Limit word: bits 0-31 threshold in ms, bits 32-39 LimitState.
LIMIT_STATE_SHIFT = 32


class LimitState(IntEnum):
    """State of one heartbeat slot, in its limit word."""

    FREE = 0
    ACTIVE = 1
    RETIRED = 2


class HeaderFlag(IntFlag):
    """How the agent got into the process."""

    PRELOADED = 1
    PYTHON = 2
    FORKED = 4
    """Created after a fork without an exec."""
    EXECED = 8
    """The process had a recorder before: it has executed another program."""


class EventSlot(Record):
    """Header of an event slot; name and payload follow. ``crc32`` covers sequence up to the payload."""

    sequence: U64
    monotonic_ns: U64
    payload_size: U32
    crc32: U32
    name: Bytes32


class ExitKind(IntEnum):
    """The function that ended the process."""

    NONE = 0
    EXIT = 1
    UNDERSCORE_EXIT = 2
    CAPITAL_EXIT = 3
    QUICK_EXIT = 4
    ABORT = 5
    EXIT_PROCESS = 6


class ExitCaller(IntEnum):
    """Whose code called it."""

    UNKNOWN = 0
    PROGRAM = 1
    RUNTIME = 2
    LIBRARY = 3
    VIRTUAL_MACHINE = 4


class ExitNote(Record):
    """The caller of exit. ``state`` is stored last; ``crc32`` covers all before ``state``."""

    kind: U32
    status: I32
    tid: U32
    is_main_thread: U32
    caller: U32
    crc32: U32
    monotonic_ns: U64
    address: U64
    module_offset: U64
    thread_name: Bytes16
    module: Bytes512
    state: U64


EXIT_NOTE_WRITTEN = 2


class CrashState(IntEnum):
    """The progress of a crash. Only TAKEN and FATAL are complete notes."""

    NONE = 0
    WRITING = 1
    TAKEN = 2
    """The program's own handler is running, and has not returned."""
    FATAL = 3
    """Unhandled: the process ends by it."""


class ContextKind(IntEnum):
    """What ``CrashNote.context`` holds."""

    NONE = 0
    LINUX_X86_64 = 1
    """gregs of mcontext_t (23 u64), then the FXSAVE area (512 bytes)."""
    LINUX_AARCH64 = 2
    """regs[31], sp, pc, pstate (u64 each)."""
    WINDOWS_X86_64 = 3
    """CONTEXT of winnt.h (1232 bytes)."""


class CrashNote(Record):
    """A fault, as the handler in the crashing thread saw it. ``state`` is stored last; ``crc32`` covers
    all before ``state``, itself as zero."""

    code: U32
    """Signal number; on Windows the exception code."""
    si_code: I32
    tid: U32
    crc32: U32
    address: U64
    """The accessed address (si_addr; on Windows the second parameter of an access violation)."""
    program_counter: U64
    stack_pointer: U64
    monotonic_ns: U64
    sender_pid: U32
    sender_uid: U32
    nested_code: U32
    """The fault in the program's own handler."""
    caller: U32
    """ExitCaller: whose code the program counter is in."""
    nested_address: U64
    module_offset: U64
    parameter: U64
    """Windows: the first exception parameter (of a fast-fail its subcode)."""
    context_kind: U32
    context_size: U32
    thread_name: Bytes16
    module: Bytes256
    context: Bytes1280
    state: U64


PAYLOAD_OFFSET = EventSlot.size()
PAYLOAD_MAX = EVENT_SLOT_SIZE - PAYLOAD_OFFSET


def file_size(slot_count: int) -> int:
    """Size in bytes of a recorder file with ``slot_count`` event slots."""
    return RING_OFFSET + slot_count * EVENT_SLOT_SIZE
