"""The frames, byte by byte: the one definition for both sides.

``tools/generate_headers.py`` writes ``native/src/wire_layout.h`` from this file. Every message is one
frame; a CRASH is followed in the same message by the CrashNote of the recorder, so that a client without
a recorder can be dumped, too. Nothing in a message says how long it is: a kind has one size.
"""

from __future__ import annotations

from enum import IntEnum

from perimortem.binary.record import U16, U32, U64, Bytes8, Record
from perimortem.recorder.layout import CrashNote

WIRE_MAGIC = b"PERIWIRE"
WIRE_VERSION = 1
ANSWER_TIMEOUT_MS = 10_000
"""So long a crashing program waits for its dump, if it says nothing else."""
SOCKET_VARIABLE = "PERIMORTEM_SOCKET"
"""Environment variable: where crashes are told."""
CORE_NOTES_NAME = "core-{pid}.notes"
SERVICE_SOCKET_NAME = "monitor.sock"
"""In the run directory: where a monitor for all programs of this user listens."""


class FrameKind(IntEnum):
    """What a message says."""

    HELLO = 1
    """Client: watch me. Answered by WELCOME."""
    WELCOME = 2
    PING = 3
    PONG = 4
    CRASH = 5
    """Client: I crash; a CrashNote follows. Answered by DONE when the dump is on disk, or is not."""
    DONE = 6
    REFUSED = 7
    """Monitor: ``outcome`` says why; the connection is closed."""
    LEAVE = 8
    """Client: I take my handler off. Answered by DONE."""
    CORE = 9
    """The kernel's core helper (root): process ``pid`` dumps core; the notes of it lie in the run
    directory (CORE_NOTES_NAME). Answered by DONE."""


class Outcome(IntEnum):
    """Why the monitor did less than it was asked."""

    OK = 0
    WRONG_VERSION = 1
    MALFORMED = 2
    NOT_WATCHED = 3
    """The sender is none of this monitor's."""
    NO_DUMP = 4
    """The crash is noted, but no dump was written."""
    TOO_MANY = 5


class Frame(Record):
    """64 bytes; the head of every message, and all of most. What is not used is zero."""

    magic: Bytes8
    version: U16
    kind: U16
    outcome: U32
    pid: U32
    """As the sender sees itself; who it is, the kernel says."""
    tid: U32
    start_time_ticks: U64
    timeout_ms: U32
    """CRASH: how long the client waits for the answer."""
    flags: U32
    value: U64
    """PING: comes back in PONG."""
    spare: U64
    spare2: U64


CRASH_MESSAGE_SIZE = Frame.size() + CrashNote.size()
