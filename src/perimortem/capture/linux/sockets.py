"""Sockets by their inodes, from the tables of the process's own network namespace (/proc/PID/net)."""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections.abc import Iterator
from io import FileIO

assert sys.platform == "linux"

from perimortem.procfs.unix_peers import read_unix_peers
from perimortem.text import printable

_TABLE_MAX = 8 << 20
_PART = 32 << 10
_TCP_STATES = (
    "", "established", "syn-sent", "syn-received", "fin-wait-1", "fin-wait-2", "time-wait", "closed",
    "close-wait", "last-ack", "listening", "closing",
)  # fmt: skip
_TABLES = {"tcp": "tcp", "tcpv6": "tcp6", "udp": "udp", "udpv6": "udp6"} | dict.fromkeys(
    ("unix", "unix-stream"), "unix"
)
"""File of /proc/PID/net by the kernel's name of the protocol (struct proto)."""
_UNIX_TYPES = {"0001": "stream", "0002": "datagram", "0005": "seqpacket"}
_UNIX_LISTENING = 1 << 16
"""__SO_ACCEPTCON."""


class SocketTable:
    """For one process's namespace. Each table is read when the first socket of its kind is requested: to
    list those of TCP the kernel walks through a large hash, milliseconds, however few there are."""

    def __init__(self, pid: int) -> None:
        self._pid = pid
        self._tables: dict[str, dict[str, dict[str, str | int]]] = {}

    def describe(self, number: int, inode: str) -> dict[str, str | int]:
        """Protocol of descriptor ``number``; local and remote address and state if a table has it."""
        try:
            raw = os.getxattr(f"/proc/{self._pid}/fd/{number}", "system.sockprotoname")
        except OSError:
            return {}
        protocol = printable(raw.rstrip(b"\0").decode("ascii", "backslashreplace")).lower()
        name = _TABLES.get(protocol)
        if name is None:
            return {"protocol": protocol}
        if name not in self._tables:
            self._tables[name] = self._read_unix() if name == "unix" else self._read_internet(name)
        return {"protocol": protocol, **self._tables[name].get(inode, {})}

    def _lines(self, name: str) -> list[list[str]]:
        try:
            with open(f"/proc/{self._pid}/net/{name}", "rb", buffering=0) as file:
                parts = list(_read_parts(file))
        except OSError:
            return []
        text = b"".join(parts).decode("utf-8", "backslashreplace")
        return [line.split() for line in text.splitlines()[1:]]

    def _read_internet(self, name: str) -> dict[str, dict[str, str | int]]:
        sockets: dict[str, dict[str, str | int]] = {}
        for fields in self._lines(name):
            try:
                facts: dict[str, str | int] = {
                    "local": _address(fields[1]),
                    "remote": _address(fields[2]),
                }
                sent, received = (int(part, 16) for part in fields[4].split(":"))
                inode = fields[9]
                if name.startswith("tcp"):
                    facts["state"] = _TCP_STATES[int(fields[3], 16)]
            except (ValueError, IndexError, struct.error):
                continue
            if sent:
                facts["send_queue"] = sent
            if received:
                facts["receive_queue"] = received
            sockets[inode] = facts
        return sockets

    def _read_unix(self) -> dict[str, dict[str, str | int]]:
        """With the other end of connected sockets: its path if it has one, else its inode."""
        sockets: dict[str, dict[str, str | int]] = {}
        for fields in self._lines("unix"):
            try:
                flags, kind, inode = int(fields[3], 16), fields[4], fields[6]
            except (ValueError, IndexError):
                continue
            facts: dict[str, str | int] = {"kind": _UNIX_TYPES.get(kind, kind)}
            if len(fields) > 7:
                facts["local"] = printable(fields[7])
            if flags & _UNIX_LISTENING:
                facts["state"] = "listening"
            sockets[inode] = facts
        for inode, peer in read_unix_peers(self._pid).items():
            if inode in sockets:
                path = sockets.get(peer, {}).get("local")
                sockets[inode]["peer"] = path or f"socket:[{peer}]"
        return sockets


def _read_parts(file: FileIO) -> Iterator[bytes]:
    """In small parts: a large buffer costs more than most tables."""
    total = 0
    while total < _TABLE_MAX and (part := file.read(_PART)):
        yield part
        total += len(part)


def _address(text: str) -> str:
    """ "0100007F:1F90" of the table as 127.0.0.1:8080."""
    host, port = text.split(":")
    raw = b"".join(struct.pack("=I", int(host[at : at + 8], 16)) for at in range(0, len(host), 8))
    family = socket.AF_INET if len(raw) == 4 else socket.AF_INET6
    shown = socket.inet_ntop(family, raw)
    return f"[{shown}]:{int(port, 16)}" if len(raw) == 16 else f"{shown}:{int(port, 16)}"
