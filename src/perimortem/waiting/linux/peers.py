"""The other end of a connected socket on this machine: of AF_UNIX, and of TCP over loopback."""

from __future__ import annotations

import ctypes
import os
import socket
import struct
import sys
from functools import cache

assert sys.platform == "linux"

from perimortem.procfs.file import read_file
from perimortem.procfs.unix_peers import read_unix_peers

_PIDFD_GETFD = 438
_SO_RCVTIMEO, _SO_SNDTIMEO = 20, 21
_TABLE_MAX = 8 << 20
_TABLES = ("tcp", "tcp6")
_ESTABLISHED = "01"


class Peers:
    """For one look; of our own network namespace, as far as AF_UNIX is concerned."""

    def __init__(self) -> None:
        self._unix = cache(read_unix_peers)
        self._internet = cache(_read_internet)

    def find(self, pid: int, inode: str) -> str | None:
        """The inode of the other end; None if it is on another machine, or is not known."""
        try:
            namespace = os.readlink(f"/proc/{pid}/ns/net")
        except OSError:
            return None
        peer = self._unix(pid).get(inode) or self._internet(namespace, pid).get(inode)
        return peer if peer and peer != "0" else None


def has_time_limit(pid: int, number: int, *, is_reading: bool) -> str:
    """What the socket's own limit says (SO_RCVTIMEO, SO_SNDTIMEO), which no file of /proc shows."""
    try:
        holder = os.pidfd_open(pid)
    except OSError:
        return "its time limit is not known"
    try:
        copy = _call_pidfd_getfd(holder, number)
        if copy < 0:
            return "its time limit is not known"
        with socket.socket(fileno=copy) as own:
            option = _SO_RCVTIMEO if is_reading else _SO_SNDTIMEO
            seconds, micros = struct.unpack("ll", own.getsockopt(socket.SOL_SOCKET, option, 16))
            return "a time limit" if seconds or micros or _has_user_timeout(own) else ""
    except OSError:
        return "its time limit is not known"
    finally:
        os.close(holder)


def has_user_timeout(pid: int, number: int) -> bool:
    """TCP gives up what is not acknowledged (TCP_USER_TIMEOUT); True if that is not known."""
    try:
        holder = os.pidfd_open(pid)
    except OSError:
        return True
    try:
        copy = _call_pidfd_getfd(holder, number)
        if copy < 0:
            return True
        with socket.socket(fileno=copy) as own:
            return _has_user_timeout(own)
    except OSError:
        return True
    finally:
        os.close(holder)


def _has_user_timeout(own: socket.socket) -> bool:
    if own.family == socket.AF_UNIX:
        return False
    return own.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) != 0


def _call_pidfd_getfd(holder: int, number: int) -> int:
    return int(ctypes.CDLL(None, use_errno=True).syscall(_PIDFD_GETFD, holder, number, 0))


def _read_internet(_namespace: str, pid: int) -> dict[str, str]:
    """Inode to the inode of the other end, for connections within one network namespace."""
    by_addresses: dict[tuple[str, str], str] = {}
    for name in _TABLES:
        for line in read_file(f"/proc/{pid}/net/{name}", _TABLE_MAX).decode().splitlines()[1:]:
            fields = line.split()
            if len(fields) > 9 and fields[3] == _ESTABLISHED:
                by_addresses[fields[1], fields[2]] = fields[9]
    return {
        inode: by_addresses[remote, local]
        for (local, remote), inode in by_addresses.items()
        if (remote, local) in by_addresses
    }
