"""Messages to bytes and back. Pure; every message of a client is decoded or rejected here."""

from __future__ import annotations

from dataclasses import dataclass

from perimortem.errors import MalformedInput
from perimortem.model.crash import Crash
from perimortem.recorder.crash import decode_crash
from perimortem.wire.layout import (
    CRASH_MESSAGE_SIZE,
    WIRE_MAGIC,
    WIRE_VERSION,
    Frame,
    FrameKind,
    Outcome,
)

MESSAGE_MAX = CRASH_MESSAGE_SIZE
_FROM_CLIENT = {
    FrameKind.HELLO: Frame.size(),
    FrameKind.PING: Frame.size(),
    FrameKind.LEAVE: Frame.size(),
    FrameKind.CORE: Frame.size(),
    FrameKind.CRASH: CRASH_MESSAGE_SIZE,
}


class WrongVersion(MalformedInput):
    """The client speaks another version of the protocol."""


@dataclass(frozen=True)
class Message:
    """A message of a client. The kernel identifies the sender; ``pid`` and ``tid`` are only claims."""

    kind: FrameKind
    pid: int
    tid: int
    start_time_ticks: int
    value: int
    crash: Crash | None = None


def decode_message(data: bytes) -> Message:
    """Raises :class:`WrongVersion` or :class:`MalformedInput`."""
    if len(data) < Frame.size():
        raise MalformedInput("a message is truncated", why=f"{len(data)} bytes of {Frame.size()}")
    frame = Frame.read(data)
    if frame.magic != WIRE_MAGIC:
        raise MalformedInput("not a message of a client", why="the magic bytes are missing")
    if frame.version != WIRE_VERSION:
        raise WrongVersion(
            f"a client speaks version {frame.version} of the protocol",
            why=f"this monitor speaks version {WIRE_VERSION}",
            remedy="use the same version of perimortem on both sides",
        )
    try:
        kind = FrameKind(frame.kind)
        expected = _FROM_CLIENT[kind]
    except (ValueError, KeyError):
        raise MalformedInput(f"kind {frame.kind} is not a message of a client") from None
    if len(data) != expected:
        raise MalformedInput(
            f"a {kind.name} message of {len(data)} bytes", why=f"it has {expected}"
        )
    crash = None
    if kind is FrameKind.CRASH:
        crash, error = decode_crash(data, Frame.size())
        if crash is None:
            raise MalformedInput(
                "a CRASH message without a crash", why=error or "its note is empty"
            )
    return Message(kind, frame.pid, frame.tid, frame.start_time_ticks, frame.value, crash)


def encode_answer(kind: FrameKind, outcome: Outcome = Outcome.OK, value: int = 0) -> bytes:
    """A message of the monitor."""
    return Frame(WIRE_MAGIC, WIRE_VERSION, kind, outcome, 0, 0, 0, 0, 0, value, 0, 0).to_bytes()
