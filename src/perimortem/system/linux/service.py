"""A child of ours that serves requests as long as we live: lines in, lines out.

It is forked: what it needs is loaded already, and it starts in a millisecond. It has its own session,
ignores the signals that end us, and keeps nothing of ours open. When we close its input it does what
it was asked, and ends.
"""

from __future__ import annotations

import importlib
import os
import select
import signal
import socket
import sys
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import Any

assert sys.platform == "linux"

from perimortem.system.linux.descriptors import close_all_but

_BUFFER_BYTES = 4 << 20
_READ_MAX = 65536
_ARG_START = 45
"""Of the fields of /proc/PID/stat after the name (proc(5): arg_start, the 48th)."""
_IGNORED = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT, signal.SIGPIPE)

Serve = Callable[[Any, Iterator[bytes], Callable[[bytes], None]], None]
"""serve(its settings, the lines that come, send)"""


class Service:
    """A running service. Nothing here waits for it, but :meth:`end`."""

    start_patience_s = 5.0
    """What its first answer may take in addition."""

    def __init__(self, module: str, settings: object) -> None:
        """``module`` has a function ``serve`` (:data:`Serve`). Raises OSError."""
        ours, its = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        ours.setblocking(False)
        with suppress(OSError):
            ours.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _BUFFER_BYTES)
        self._unsent = bytearray()
        try:
            self.pid = os.fork()
        except OSError:
            ours.close()
            its.close()
            raise
        if self.pid == 0:
            _live(module, settings, its)
        its.close()
        self._socket = ours
        self._is_over = False

    @property
    def unsent_bytes(self) -> int:
        """What waits for it to read more; :meth:`flush` sends that."""
        return len(self._unsent)

    def waitable(self) -> int:
        """Ready when there is something to :meth:`read`."""
        return self._socket.fileno()

    def send(self, data: bytes) -> None:
        """To be read by it in this order. If it has died, :meth:`read` says so."""
        self._unsent += data
        self.flush()

    def flush(self) -> None:
        try:
            while self._unsent:
                del self._unsent[: os.write(self._socket.fileno(), self._unsent)]
        except BlockingIOError:
            return
        except OSError:
            self._unsent.clear()

    def read(self) -> bytes | None:
        """What it has sent; empty at its end; None: nothing yet."""
        try:
            return os.read(self._socket.fileno(), _READ_MAX)
        except BlockingIOError:
            return None
        except OSError:
            return b""

    def end(self, patience_s: float) -> None:
        """It ends when it has done what was asked of it; it is left to that after ``patience_s``."""
        self._socket.close()
        try:
            if patience_s > 0:
                self._await_end(patience_s)
        except OSError:  # there is no descriptor
            pass
        self.is_over()

    def kill(self) -> None:
        """It is stuck, or not needed any more. It may yet take time to end (``is_over``)."""
        if not self._is_over:
            with suppress(OSError):
                os.kill(self.pid, signal.SIGKILL)  # our child, not yet reaped
        self.end(0)

    def is_over(self) -> bool:
        """It has ended, and its pid may be another process's from now on."""
        if not self._is_over:
            try:
                self._is_over = os.waitpid(self.pid, os.WNOHANG)[0] == self.pid
            except OSError:
                self._is_over = True  # something else has reaped it
        return self._is_over

    def _await_end(self, patience_s: float) -> None:
        handle = os.pidfd_open(self.pid)
        try:
            poll = select.poll()
            poll.register(handle, select.POLLIN)
            poll.poll(patience_s * 1e3)
        finally:
            os.close(handle)


def _live(module: str, settings: object, its: socket.socket) -> None:
    """The child: never returns."""
    status = 1
    try:
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        os.setsid()
        null = os.open(os.devnull, os.O_RDWR)
        for fd in (0, 1, 2):
            os.dup2(null, fd)
        close_all_but(0, 1, 2, its.fileno())
        _rename_self(module)
        serve: Serve = importlib.import_module(module).serve
        with its.makefile("rb") as lines:
            serve(settings, iter(lines.readline, b""), its.sendall)
        status = 0
    finally:
        os._exit(status)


def _rename_self(module: str) -> None:
    """In `ps` and for `pgrep -f` it would be another of us: the command line is replaced in place."""
    title = f"perimortem: {module.rpartition('.')[2]}".encode()
    with suppress(OSError, ValueError):
        with open("/proc/self/comm", "wb") as file:
            file.write(title[:15])
        with open("/proc/self/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
        begin, end = int(fields[_ARG_START]), int(fields[_ARG_START + 1])
        with open("/proc/self/mem", "r+b", buffering=0) as memory:
            memory.seek(begin)
            memory.write(title[: end - begin - 1].ljust(end - begin, b"\0"))
