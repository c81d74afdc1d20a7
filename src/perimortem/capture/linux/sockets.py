"""Sockets by their inodes, from the tables of the process's own network namespace (/proc/PID/net)."""

from __future__ import annotations

import socket
import struct
import sys
from collections.abc import Iterator

assert sys.platform == "linux"

from perimortem.text import printable

_TABLE_MAX = 8 << 20
_TCP_STATES = (
    "", "established", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "time-wait", "closed",
    "close-wait", "last-ack", "listening", "closing",
)  # fmt: skip
_UNIX_TYPES = {"0001": "stream", "0002": "datagram", "0005": "seqpacket"}
_UNIX_LISTENING = 1 << 16
"""__SO_ACCEPTCON."""


class SocketTable:
    """Read once, when the first socket is asked for."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._sockets: dict[str, dict[str, str | int]] | None = None

    def describe(self, inode: str) -> dict[str, str | int]:
        """Protocol, local and remote address, state; empty for one that no table has."""
        if self._sockets is None:
            self._sockets = {}
            for protocol in ("tcp", "udp", "tcp6", "udp6"):
                self._sockets.update(self._read_internet(protocol))
            self._sockets.update(self._read_unix())
        return dict(self._sockets.get(inode, {}))

    def _lines(self, name: str) -> list[list[str]]:
        try:
            with open(f"/proc/{self._pid}/net/{name}", "rb") as file:
                text = file.read(_TABLE_MAX).decode("utf-8", "backslashreplace")
        except OSError:
            return []
        return [line.split() for line in text.splitlines()[1:]]

    def _read_internet(self, protocol: str) -> Iterator[tuple[str, dict[str, str | int]]]:
        for fields in self._lines(protocol):
            try:
                facts: dict[str, str | int] = {
                    "protocol": protocol,
                    "local": _address(fields[1]),
                    "remote": _address(fields[2]),
                }
                sent, received = (int(part, 16) for part in fields[4].split(":"))
                inode = fields[9]
                if protocol.startswith("tcp"):
                    facts["state"] = _TCP_STATES[int(fields[3], 16)]
            except (ValueError, IndexError, struct.error):
                continue
            if sent:
                facts["send_queue"] = sent
            if received:
                facts["receive_queue"] = received
            yield inode, facts

    def _read_unix(self) -> Iterator[tuple[str, dict[str, str | int]]]:
        for fields in self._lines("unix"):
            try:
                flags, kind, inode = int(fields[3], 16), fields[4], fields[6]
            except (ValueError, IndexError):
                continue
            facts: dict[str, str | int] = {"protocol": "unix", "kind": _UNIX_TYPES.get(kind, kind)}
            if len(fields) > 7:
                facts["local"] = printable(fields[7])
            if flags & _UNIX_LISTENING:
                facts["state"] = "listening"
            yield inode, facts


def _address(text: str) -> str:
    """ "0100007F:1F90" of the table as 127.0.0.1:8080."""
    host, port = text.split(":")
    raw = b"".join(struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8))
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    shown = socket.inet_ntop(family, raw)
    return f"[{shown}]:{int(port, 16)}" if len(raw) == 16 else f"{shown}:{int(port, 16)}"
