"""Messages of clients, made by hand: valid ones, and ones that no client sends."""

from __future__ import annotations

import socket
import struct
import zlib

from perimortem.recorder.layout import CrashNote, CrashState
from perimortem.wire.layout import WIRE_MAGIC, WIRE_VERSION, Frame, FrameKind


def make_frame(kind, *, version=WIRE_VERSION, pid=0, start_time=0, value=0):
    return Frame(WIRE_MAGIC, version, kind, 0, pid, 1, start_time, 0, 0, value, 0, 0).to_bytes()


def make_crash(number=11, *, pid=0, context_kind=0, context=b""):
    """A whole CRASH message without a crash."""
    fields = {name: 0 for name, *_ in CrashNote.offsets()}
    fields |= {
        "thread_name": bytes(16),
        "module": bytes(256),
        "context": context.ljust(1280, b"\0"),
    }
    fields |= {"context_kind": context_kind, "context_size": len(context)}
    fields |= {"code": number, "si_code": 1, "tid": pid, "state": CrashState.FATAL}
    image = bytearray(CrashNote(**fields).to_bytes())
    offsets = {name: offset for name, _, offset, _ in CrashNote.offsets()}
    crc = zlib.crc32(bytes(image[: offsets["state"]]))
    struct.pack_into("<I", image, offsets["crc32"], crc)
    return make_frame(FrameKind.CRASH, pid=pid) + bytes(image)


def connect(path):
    client = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    client.settimeout(20)
    client.connect(str(path))
    return client


def ask(path, message):
    """The frame that comes back."""
    with connect(path) as client:
        client.send(message)
        return Frame.read(client.recv(4096))
