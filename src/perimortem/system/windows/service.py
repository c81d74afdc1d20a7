"""A child of ours that serves requests as long as we live: lines in, lines out.

Anonymous pipes can neither be waited for nor written without waiting: two threads of ours do that.
"""

from __future__ import annotations

import base64
import pickle
import queue
import subprocess
import sys
import threading
from collections import deque
from contextlib import suppress

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.library import describe_error, last_error

_MAIN = "perimortem.system.windows.serve"
_READ_MAX = 65536


class Service:
    """A running service. Nothing here waits for it, but :meth:`end`."""

    start_patience_s = 10.0
    """What its first answer may take in addition: an interpreter is started."""

    def __init__(self, module: str, settings: object) -> None:
        """``module`` has a function ``serve``, as on Linux. Raises OSError."""
        event = kernel32.CreateEventW(None, True, False, None)
        if not event:
            raise OSError(f"no event: {describe_error(last_error())}")
        self._event = int(event)
        self._received: deque[bytes] = deque()
        self._unsent: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        try:
            self._popen = subprocess.Popen(
                [sys.executable, "-P", "-m", _MAIN, module],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                creationflags=subprocess.DETACHED_PROCESS,
            )
        except OSError:
            kernel32.CloseHandle(self._event)
            raise
        self.pid = self._popen.pid
        self._unsent.put(base64.b64encode(pickle.dumps(settings)) + b"\n")
        for run in (self._write, self._read):
            threading.Thread(target=run, daemon=True).start()

    @property
    def unsent_bytes(self) -> int:
        """A thread sends it."""
        return 0

    def waitable(self) -> int:
        """Ready when there is something to :meth:`read`."""
        return self._event

    def send(self, data: bytes) -> None:
        """To be read by it in this order. If it has died, :meth:`read` says so."""
        self._unsent.put(data)

    def flush(self) -> None:
        return

    def read(self) -> bytes | None:
        """What it has sent; empty at its end; None: nothing yet."""
        kernel32.ResetEvent(self._event)
        if not self._received:
            return None
        data = self._received.popleft()
        if self._received:
            kernel32.SetEvent(self._event)
        return data

    def end(self, patience_s: float) -> None:
        """It ends when it has done what was asked of it; it is left to that after ``patience_s``."""
        self._unsent.put(None)
        with suppress(subprocess.TimeoutExpired):
            self._popen.wait(patience_s)

    def kill(self) -> None:
        """It is stuck, or not needed any more. It may yet take time to end (``is_over``)."""
        with suppress(OSError):
            self._popen.kill()
        self.end(0)

    def is_over(self) -> bool:
        """It has ended."""
        return self._popen.poll() is not None

    def _write(self) -> None:
        assert self._popen.stdin is not None
        with suppress(OSError), self._popen.stdin as pipe:
            while (data := self._unsent.get()) is not None:
                pipe.write(data)
                pipe.flush()

    def _read(self) -> None:
        assert self._popen.stdout is not None
        with self._popen.stdout as pipe:
            data = b"?"
            while data:
                try:
                    data = pipe.read1(_READ_MAX)  # type: ignore[attr-defined]
                except OSError:
                    data = b""
                self._received.append(data)
                kernel32.SetEvent(self._event)
