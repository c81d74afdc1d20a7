"""Standard error that never makes us wait: what is not read is kept, then dropped and counted.

A pipe that no one reads would stop the watch with the first full buffer. Its description is shared with
the target, so that O_NONBLOCK cannot be set on it: a pipe or a terminal is opened once more.
"""

from __future__ import annotations

import io
import os
import select
import stat
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

_KEPT_MAX = 16 << 20
_CHUNK = 4096
"""A pipe that polls as writable takes as much without waiting (PIPE_BUF)."""
_LAST_PATIENCE_S = 2.0
_FLAGS = os.O_WRONLY | sum(getattr(os, name, 0) for name in ("O_NONBLOCK", "O_NOCTTY", "O_CLOEXEC"))


@contextmanager
def patient_stderr() -> Iterator[None]:
    """``sys.stderr`` in the body. On Windows, and for a file, it stays as it is."""
    raw = _open()
    if raw is None:
        yield
        return
    before = sys.stderr
    sys.stderr = io.TextIOWrapper(
        raw,
        encoding=before.encoding,
        errors="backslashreplace",
        line_buffering=True,
        write_through=True,
    )
    try:
        yield
    finally:
        raw.finish(_LAST_PATIENCE_S)
        sys.stderr.detach()
        sys.stderr = before


def _open() -> _PatientRaw | None:
    if sys.platform == "win32" or sys.stderr is None:
        return None
    try:
        fd = sys.stderr.fileno()
        mode = os.fstat(fd).st_mode
        sys.stderr.flush()
    except (OSError, ValueError):
        return None
    if not (stat.S_ISFIFO(mode) or stat.S_ISCHR(mode) or stat.S_ISSOCK(mode)):
        return None
    return _PatientRaw(fd)


class _PatientRaw(io.RawIOBase):
    """Takes everything at once."""

    def __init__(self, fd: int) -> None:
        self._fd = fd
        self._own_fd = -1
        with suppress(OSError):  # a socket cannot be opened, another user's pipe may not be
            self._own_fd = os.open(f"/proc/self/fd/{fd}", _FLAGS)
        self._kept = bytearray()
        self._dropped = 0

    def writable(self) -> bool:
        return True

    def fileno(self) -> int:
        return self._fd

    def isatty(self) -> bool:
        return os.isatty(self._fd)

    def write(self, data: ReadableBuffer, /) -> int:
        text = bytes(data)
        self._send_kept()
        if len(self._kept) + len(text) <= _KEPT_MAX:
            self._kept += text
            self._send_kept()
        else:
            self._dropped += text.count(b"\n")
        return len(text)

    def finish(self, patience_s: float) -> None:
        """Waits so long for the reader, then drops the rest."""
        if self._dropped:
            self._kept += b"perimortem: %d lines were dropped: no one read them\n" % self._dropped
        deadline = time.monotonic() + patience_s
        self._send_kept()
        while self._kept and (left_s := deadline - time.monotonic()) > 0:
            select.select([], [self._fd], [], left_s)
            self._send_kept()
        self._kept.clear()
        if self._own_fd >= 0:
            os.close(self._own_fd)

    def _send_kept(self) -> None:
        try:
            while self._kept:
                sent = self._send(bytes(self._kept[:_CHUNK]))
                if sent == 0:
                    return
                del self._kept[:sent]
        except BlockingIOError:
            return
        except OSError:
            self._kept.clear()  # its reader is gone: the watch goes on

    def _send(self, part: bytes) -> int:
        if self._own_fd >= 0:
            return os.write(self._own_fd, part)
        _, ready, _ = select.select([], [self._fd], [], 0)
        return os.write(self._fd, part) if ready else 0
