"""A seqpacket socket in the run directory (mode 0700); the kernel identifies senders (SCM_CREDENTIALS).

The credentials come with each message: a connection inherited over a fork still identifies the process
that really sent. They are enabled before the first client can connect.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import struct
import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.errors import AccessDenied
from perimortem.wire.frames import MESSAGE_MAX
from perimortem.wire.listener import AlreadyServed, Received

_CREDENTIALS = struct.Struct("=iII")  # struct ucred: pid, uid, gid
_BACKLOG = 4096
_PATH_MAX = 107


class LocalListener:
    """Clients of one socket file."""

    def __init__(self, path: Path, lock: int | None) -> None:
        self.address = str(path)
        self._path = path
        self._lock = lock
        self._socket = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)
            with contextlib.suppress(FileNotFoundError):
                path.unlink()
            _bind(self._socket, path)
            path.chmod(0o600)
            self._socket.listen(_BACKLOG)
        except OSError as error:
            self._socket.close()
            raise AccessDenied(f"cannot listen at {path}", why=error.strerror or "") from error
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def waitable(self) -> int:
        return self._socket.fileno()

    def accept(self) -> LocalConnection | None:
        try:
            accepted, _ = self._socket.accept()
        except OSError as error:
            if error.errno in (errno.EMFILE, errno.ENFILE):
                self._turn_away()
            return None
        return LocalConnection(accepted)

    def _turn_away(self) -> None:
        """No descriptor is left. Waiting clients would wake us endlessly: the spare one takes them."""
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self._socket.accept()[0].close()
        self._spare = os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)

    def close(self) -> None:
        self._socket.close()
        os.close(self._spare)
        with contextlib.suppress(OSError):
            self._path.unlink()
        if self._lock is not None:
            os.close(self._lock)


class LocalConnection:
    """One client of the socket."""

    def __init__(self, accepted: socket.socket) -> None:
        self._socket = accepted
        accepted.setblocking(False)
        accepted.setsockopt(socket.SOL_SOCKET, socket.SO_PASSCRED, 1)

    def waitable(self) -> int:
        return self._socket.fileno()

    def receive(self) -> Received | None:
        """A message longer than any of ours arrives truncated: its size then shows it."""
        try:
            data, ancillary, _, _ = self._socket.recvmsg(
                MESSAGE_MAX + 1, socket.CMSG_SPACE(_CREDENTIALS.size), socket.MSG_CMSG_CLOEXEC
            )
        except (BlockingIOError, InterruptedError):
            return None
        except OSError as error:
            raise EOFError from error
        pid, uid = 0, -1
        for level, kind, content in ancillary:
            if level == socket.SOL_SOCKET and kind == socket.SCM_CREDENTIALS:
                pid, uid, _ = _CREDENTIALS.unpack_from(content)
        if not data:
            raise EOFError
        return Received(pid, data, is_root=uid == 0)

    def send(self, data: bytes) -> bool:
        try:
            return self._socket.send(data, socket.MSG_NOSIGNAL) == len(data)
        except OSError:
            return False

    def close(self) -> None:
        self._socket.close()


def open_listener(run_dir: Path, name: str) -> LocalListener:
    """Listen at ``name`` in ``run_dir``; a stale socket of a monitor that was killed is replaced.

    Raises :class:`AlreadyServed` if another monitor listens there, AccessDenied."""
    path = run_dir / name
    lock = os.open(run_dir / f".{name}.lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as error:
        os.close(lock)
        if error.errno != errno.EWOULDBLOCK:
            raise AccessDenied(f"cannot listen at {path}", why=error.strerror or "") from error
        raise AlreadyServed(f"a monitor already serves {path}") from error
    try:
        return LocalListener(path, lock)
    except BaseException:
        os.close(lock)
        raise


def open_own_listener(run_dir: Path) -> LocalListener:
    """For the programs that this process watches only."""
    return LocalListener(run_dir / f"{os.getpid()}.sock", None)


def _bind(listening: socket.socket, path: Path) -> None:
    """A path that is too long for an address is reached through its directory."""
    if len(os.fsencode(path)) <= _PATH_MAX:
        listening.bind(str(path))
        return
    directory = os.open(path.parent, os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        listening.bind(f"/proc/self/fd/{directory}/{path.name}")
    finally:
        os.close(directory)
