"""The frames, byte by byte: the one definition for both sides.

``tools/generate_headers.py`` writes ``native/src/wire_layout.h`` from this file. Every message is one
frame; a CRASH is followed in the same message by the recorder's CrashNote, so that a client without
a recorder can be dumped, too. Messages have no length field: each kind has a fixed size.
"""

from __future__ import annotations

from enum import IntEnum

from perimortem.binary.record import U16, U32, U64, Bytes8, Record
from perimortem.recorder.layout import CrashNote

WIRE_MAGIC = b"PERIWIRE"
WIRE_VERSION = 1
ANSWER_TIMEOUT_MS = 10_000
"""How long a crashing program waits for its dump by default."""
SOCKET_VARIABLE = "PERIMORTEM_SOCKET"
"""Environment variable: where crashes are reported."""
CORE_NOTES_NAME = "core-{pid}.notes"
SERVICE_SOCKET_NAME = "monitor.sock"
"""In the run directory: the socket of the monitor for all programs of this user."""


class FrameKind(IntEnum):
    """The meaning of a message."""

    HELLO = 1
    """Client: watch me. Answered by WELCOME."""
    WELCOME = 2
    PING = 3
    PONG = 4
    CRASH = 5
    """Client: I crashed; a CrashNote follows. Answered by DONE once the dump is on disk, or failed."""
    DONE = 6
    REFUSED = 7
    """Monitor: ``outcome`` says why; the connection is closed."""
    LEAVE = 8
    """Client: I remove my crash handler. Answered by DONE."""
    CORE = 9
    """The kernel's core helper (root): process ``pid`` dumps core; the notes of the core are in the run
    directory (CORE_NOTES_NAME). Answered by WELCOME within a second, then by DONE."""


class Outcome(IntEnum):
    """Why the monitor did less than requested."""

    OK = 0
    WRONG_VERSION = 1
    MALFORMED = 2
    NOT_WATCHED = 3
    """The sender does not belong to this monitor."""
    NO_DUMP = 4
    """The crash is recorded, but no dump was written."""
    TOO_MANY = 5


class Frame(Record):
    """64 bytes; the header of every message, and all of most. Unused fields are zero."""

    magic: Bytes8
    version: U16
    kind: U16
    outcome: U32
    pid: U32
    """The sender's own claim; the kernel identifies it."""
    tid: U32
    start_time_ticks: U64
    timeout_ms: U32
    """CRASH: how long the client waits for the answer."""
    flags: U32
    value: U64
    """PING: returned in PONG."""
    spare: U64
    spare2: U64


CRASH_MESSAGE_SIZE = Frame.size() + CrashNote.size()
