"""Which Unix socket is connected to which: sock_diag(7), in our own network namespace."""

from __future__ import annotations

import os
import socket
import struct
import sys

assert sys.platform == "linux"

_NETLINK_SOCK_DIAG = 4
_SOCK_DIAG_BY_FAMILY = 20
_REQUEST_DUMP = 0x301  # NLM_F_REQUEST | NLM_F_DUMP
_DONE, _ERROR = 3, 2
_SHOW_PEER = 4
_PEER = 2  # UNIX_DIAG_PEER
_HEADER, _MESSAGE = 16, 16
_TIMEOUT_S = 0.5
_ANSWER_MAX = 8 << 20
_PART = 32 << 10
"""What the kernel sends at once (NLMSG_GOODSIZE and more)."""


def read_unix_peers(pid: int) -> dict[str, str]:
    """Inode to the inode of its peer; empty if the process has another namespace than we."""
    try:
        if os.readlink(f"/proc/{pid}/ns/net") != os.readlink("/proc/self/ns/net"):
            return {}
        with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, _NETLINK_SOCK_DIAG) as asking:
            asking.settimeout(_TIMEOUT_S)
            body = struct.pack("<BBHIIIII", socket.AF_UNIX, 0, 0, 0xFFFFFFFF, 0, _SHOW_PEER, 0, 0)
            head = struct.pack(
                "<IHHII", _HEADER + len(body), _SOCK_DIAG_BY_FAMILY, _REQUEST_DUMP, 1, 0
            )
            asking.send(head + body)
            return _read_answer(asking)
    except OSError:
        return {}


def _read_answer(asking: socket.socket) -> dict[str, str]:
    peers: dict[str, str] = {}
    total = 0
    while total < _ANSWER_MAX:
        data = asking.recv(_PART)
        total += len(data)
        at = 0
        while at + _HEADER <= len(data):
            size, kind = struct.unpack_from("<IH", data, at)
            if kind in (_DONE, _ERROR) or size < _HEADER:
                return peers
            peers |= _parse_message(data[at + _HEADER : at + size])
            at += size + 3 & ~3
    return peers


def _parse_message(message: bytes) -> dict[str, str]:
    """struct unix_diag_msg and its attributes."""
    if len(message) < _MESSAGE:
        return {}
    (inode,) = struct.unpack_from("<I", message, 4)
    at = _MESSAGE
    while at + 4 <= len(message):
        size, kind = struct.unpack_from("<HH", message, at)
        if size < 4:
            break
        if kind == _PEER and size >= 8 and at + 8 <= len(message):
            return {str(inode): str(struct.unpack_from("<I", message, at + 4)[0])}
        at += size + 3 & ~3
    return {}
