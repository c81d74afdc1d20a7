"""The proc connector: exit codes of every process, by netlink (linux/cn_proc.h; CAP_NET_ADMIN).

Opened once for all watched processes, read only on request. Without the right it is absent.
"""

from __future__ import annotations

import os
import socket
import struct
import sys
from collections import OrderedDict

assert sys.platform == "linux"

_NETLINK_CONNECTOR = 11
_CN_IDX_PROC = 1
_CN_VAL_PROC = 1
_PROC_CN_MCAST_LISTEN = 1
_NLMSG_DONE = 3
_PROC_EVENT_EXIT = 0x80000000
_NLMSG = struct.Struct("=IHHII")
_CN_MSG = struct.Struct("=IIIIHH")
_EVENT = struct.Struct("=IIQ")
_EXIT = struct.Struct("=IIII")
_REMEMBERED = 4096
_RECEIVE_BYTES = 1 << 20


class ProcConnector:
    """Exit statuses as the kernel announces them."""

    _shared: ProcConnector | None = None
    _shared_pid = 0

    def __init__(self) -> None:
        """Raises OSError (EPERM without CAP_NET_ADMIN)."""
        self._statuses: OrderedDict[int, int] = OrderedDict()
        self._socket = socket.socket(socket.AF_NETLINK, socket.SOCK_DGRAM, _NETLINK_CONNECTOR)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _RECEIVE_BYTES)
            self._socket.bind((0, _CN_IDX_PROC))
            self._socket.send(_listen_message())
        except BaseException:
            self._socket.close()
            raise

    @classmethod
    def shared(cls) -> ProcConnector | None:
        """The status of this process, or None if not permitted."""
        if cls._shared is None or cls._shared_pid != os.getpid():
            try:
                cls._shared = cls()
                cls._shared_pid = os.getpid()
            except OSError:
                return None
        return cls._shared

    def take_exit_status(self, pid: int) -> int | None:
        """The wait status of ``pid`` if its end was announced."""
        self._drain()
        return self._statuses.pop(pid, None)

    def _drain(self) -> None:
        while True:
            try:
                message, (sender, _) = self._socket.recvfrom(4096)
            except BlockingIOError:
                return
            except OSError:
                continue  # ENOBUFS: announcements were lost; the other sources remain
            if sender == 0:  # from the kernel
                self._remember(message)

    def _remember(self, message: bytes) -> None:
        offset = _NLMSG.size + _CN_MSG.size
        if len(message) < offset + _EVENT.size + _EXIT.size:
            return
        what, _, _ = _EVENT.unpack_from(message, offset)
        if what != _PROC_EVENT_EXIT:
            return
        _, tgid, code, _ = _EXIT.unpack_from(message, offset + _EVENT.size)
        # The last thread to exit carries the status of the process; a leader may exit early.
        self._statuses[tgid] = code
        self._statuses.move_to_end(tgid)
        while len(self._statuses) > _REMEMBERED:
            self._statuses.popitem(last=False)

    def close(self) -> None:
        self._socket.close()


def _listen_message() -> bytes:
    operation = struct.pack("=I", _PROC_CN_MCAST_LISTEN)
    body = _CN_MSG.pack(_CN_IDX_PROC, _CN_VAL_PROC, 0, 0, len(operation), 0) + operation
    return _NLMSG.pack(_NLMSG.size + len(body), _NLMSG_DONE, 0, 0, 0) + body
