"""The program's output: any byte on its stdout or stderr is a beat of ``output``.

We are in between: with a pseudo-terminal if ours is a terminal (most programs use block buffering when
they write to a pipe, and would beat minutes late), else a pipe. One thread per stream copies;
if the reader of our output does not read, the program waits, as it would without us, but the
monitor does not. Lines that are JSON objects are kept as events.
"""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import select
import struct
import sys
import termios
import threading
import time
import tty
from collections import deque
from collections.abc import Iterable

assert sys.platform == "linux"

from perimortem.model.recording import Event, Heartbeat
from perimortem.text import printable

_CHUNK_BYTES = 65536
_LINE_MAX = 4096
_LAST_READ_NS = 200_000_000
_KEPT = 20
_KEPT_BYTES = 64 << 10
"""Of the end of standard error."""
_BUFFERED = "its output is a pipe, which many programs buffer: beats may come late (--pty)"
_WINDOW = struct.Struct("4H")


class Output:
    """The streams of one child. Give ``stdout`` and ``stderr`` to it, then call :meth:`begin`."""

    def __init__(self, now_ns: int, *, force_pty: bool, only_stderr: bool = False) -> None:
        """``only_stderr``: the other one is left alone, and ``stdout`` is None."""
        self.name = "output"
        self.warning = ""
        self.blind_spot = "intended silence; work that prints nothing"
        self._beat_ns = now_ns
        self._beaten = False
        self._events: deque[Event] = deque(maxlen=_KEPT)
        wanted = (2,) if only_stderr else (1, 2)
        self._streams = [self._open(fd, force_pty=force_pty) for fd in wanted]
        self.stdout = None if only_stderr else self._streams[0].child_fd
        self.stderr = self._streams[-1].child_fd

    def begin(self) -> None:
        """After the child was started: our copies of its ends are closed, and copying begins."""
        for stream in self._streams:
            os.close(stream.child_fd)
            stream.thread.start()

    def resize(self) -> bool:
        """Our terminal was resized; True if that was passed on."""
        terminals = [stream for stream in self._streams if stream.is_terminal]
        return sum(_copy_window(stream.our_fd, stream.read_fd) for stream in terminals) > 0

    def finish(self, timeout_s: float) -> bool:
        """The child has ended: copy what is left, and do not wait for others that hold the streams.

        ``timeout_s``: how long to wait for a reader that does not read. True if all is written."""
        for stream in self._streams:
            if stream.thread.is_alive() and not stream.ended.is_set():
                stream.ended.set()
                with contextlib.suppress(OSError):
                    os.write(stream.wake_fd, b"\0")
        for stream in self._streams:
            if stream.thread.ident is not None:
                stream.thread.join(timeout_s)
        return not any(stream.thread.is_alive() for stream in self._streams)

    def read_end(self) -> bytes:
        """The last bytes of standard error."""
        return bytes(self._streams[-1].kept[-_KEPT_BYTES:])

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        return (Heartbeat("output", self._beat_ns, self._beaten, None, 0, False),)

    def events(self) -> Iterable[Event]:
        return list(self._events)

    def observe(self, now_ns: int) -> None:
        return

    def disregard(self, until_ns: int) -> None:
        return

    def facts(self) -> tuple[str, ...]:
        if self.warning:
            return ("it prints into a pipe: its own buffer may have delayed the output",)
        return ()

    def close(self) -> None:
        self.finish(0)

    def _open(self, our_fd: int, *, force_pty: bool) -> _Stream:
        is_terminal = os.isatty(our_fd)
        if is_terminal or force_pty:
            read_fd, child_fd = os.openpty()
            # The real terminal, or other reader, gets the bytes unchanged.
            tty.setraw(child_fd)
            if is_terminal:
                _copy_window(our_fd, read_fd)
        else:
            self.warning = _BUFFERED
            read_fd, child_fd = os.pipe()
        return _Stream(self, our_fd, read_fd, child_fd, is_terminal=is_terminal)

    def beat(self) -> None:
        """Called by the copying threads: two stores."""
        self._beat_ns = time.monotonic_ns()
        self._beaten = True

    def keep_line(self, line: bytes) -> None:
        """A complete line; kept if it is a JSON object."""
        if not line.startswith(b"{"):
            return
        try:
            document = json.loads(line)
        except (ValueError, RecursionError):
            return
        if isinstance(document, dict):
            name = document.get("event", document.get("name", "output.json"))
            text = printable(str(name))[:31]
            self._events.append(
                Event(0, time.monotonic_ns(), text, line.decode("utf-8", "replace"))
            )


class _Stream:
    """One direction: from the child's end to our own stdout or stderr."""

    def __init__(
        self, output: Output, our_fd: int, read_fd: int, child_fd: int, *, is_terminal: bool
    ) -> None:
        self.our_fd = our_fd
        self.read_fd = read_fd
        self.child_fd = child_fd
        self.is_terminal = is_terminal
        self.ended = threading.Event()
        self._wake_read_fd, self.wake_fd = os.pipe()
        self._output = output
        self._line = bytearray()
        self.kept = bytearray()
        """The end of what was copied."""
        self._skips = False
        self._left_bytes = 0
        self._over_at_ns: int | None = None
        """Set at the child's end: from then on only what was in the stream is copied."""
        self.thread = threading.Thread(target=self._copy, name="perimortem-output", daemon=True)

    def _copy(self) -> None:
        poll = select.poll()
        poll.register(self.read_fd, select.POLLIN)
        poll.register(self._wake_read_fd, select.POLLIN)
        while self._copy_chunk(poll):
            pass
        for fd in (self.read_fd, self._wake_read_fd, self.wake_fd):
            os.close(fd)

    def _copy_chunk(self, poll: select.poll) -> bool:
        """False at the end of the stream, or if the child has ended and the stream is empty."""
        if self.ended.is_set() and self._is_over():
            return False
        has_data = any(
            fd == self.read_fd for fd, _ in poll.poll(0 if self.ended.is_set() else None)
        )
        if not has_data:
            return not self.ended.is_set()
        try:
            chunk = os.read(self.read_fd, _CHUNK_BYTES)
        except OSError:  # EIO: a pseudo-terminal whose other end is closed
            return False
        if not chunk:
            return False
        self._left_bytes -= len(chunk)
        self._output.beat()
        self._split(chunk)
        self.kept += chunk
        if len(self.kept) > 2 * _KEPT_BYTES:
            del self.kept[:-_KEPT_BYTES]
        return _write_all(self.our_fd, chunk)

    def _is_over(self) -> bool:
        """After the child's end: other holders of the stream might print for ever."""
        now_ns = time.monotonic_ns()
        if self._over_at_ns is None:
            self._over_at_ns = now_ns + _LAST_READ_NS
            self._left_bytes = _count_waiting(self.read_fd)
        return self._left_bytes <= 0 and now_ns > self._over_at_ns

    def _split(self, chunk: bytes) -> None:
        """Lines, each cut off at 4 KiB: a line without an end takes no memory."""
        first, *rest = chunk.split(b"\n")
        self._extend(first)
        for part in rest:
            if not self._skips:
                self._output.keep_line(bytes(self._line))
            self._line.clear()
            self._skips = False
            self._extend(part)

    def _extend(self, part: bytes) -> None:
        if len(self._line) + len(part) > _LINE_MAX:
            self._skips = True
            self._line.clear()
        elif not self._skips:
            self._line += part


def _write_all(fd: int, data: bytes) -> bool:
    """False if our reader has gone: closing our end signals that to the program."""
    view = memoryview(data)
    while view:
        try:
            view = view[os.write(fd, view) :]
        except BlockingIOError:
            select.select([], [fd], [])
        except OSError:
            return False
    return True


def _count_waiting(fd: int) -> int:
    try:
        return int.from_bytes(fcntl.ioctl(fd, termios.FIONREAD, bytes(4)), sys.byteorder)
    except OSError:
        return 0


def _copy_window(from_fd: int, to_fd: int) -> bool:
    try:
        size = fcntl.ioctl(from_fd, termios.TIOCGWINSZ, bytes(_WINDOW.size))
        fcntl.ioctl(to_fd, termios.TIOCSWINSZ, size)
    except OSError:
        return False
    return True
