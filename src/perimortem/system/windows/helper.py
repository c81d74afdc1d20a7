"""One of our helpers: a dump worker. One request on its standard input, one answer back.

The answer goes into a file: a handle of an anonymous pipe cannot be waited for, the process can.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress

assert sys.platform == "win32"

_ANSWER_MAX = 4 << 20
_KILL_PATIENCE_S = 5.0


class Helper:
    """A child whose answer is read when it has ended."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], *, own_session: bool = False
    ) -> None:
        """``own_session``: Ctrl-C does not reach it. Raises OSError if it cannot be started."""
        self._answer = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the helper
        self._is_read = False
        try:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=self._answer,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                # Without a console: our own events do not reach it, and none is opened.
                creationflags=subprocess.DETACHED_PROCESS,
            )
        except OSError:
            self._answer.close()
            raise
        assert self._popen.stdin is not None
        self._stdin = self._popen.stdin

    @property
    def pid(self) -> int:
        return self._popen.pid

    def waitable(self) -> int:
        """Ready when there is something to :meth:`read`."""
        return int(self._popen._handle)  # type: ignore[attr-defined]

    def ask(self, question: bytes) -> None:
        """Writes the request. If the helper has died, its empty answer says so."""
        try:
            self._stdin.write(question)
            self._stdin.close()
        except OSError:
            return

    def read(self) -> bytes | None:
        """The answer, then nothing; None: not yet."""
        if self.poll() is None:
            return None
        if self._is_read:
            return b""
        self._is_read = True
        return self._read_answer()

    def poll(self) -> int | None:
        """Its status; None while it runs."""
        return self._popen.poll()

    def terminate(self) -> None:
        """There is nothing milder here than the end."""
        self._popen.kill()

    def kill(self) -> None:
        self._popen.kill()

    def end(self, patience_s: float) -> int:
        """Its status; after ``patience_s`` it is killed. Waits."""
        with suppress(subprocess.TimeoutExpired):
            return self._popen.wait(timeout=patience_s)
        self._popen.kill()
        with suppress(subprocess.TimeoutExpired):
            return self._popen.wait(timeout=_KILL_PATIENCE_S)
        return -1  # stuck in the system: it ends when the system lets it

    def close(self) -> None:
        """Nothing more is read."""
        self._answer.close()
        with suppress(OSError):
            self._stdin.close()

    def _read_answer(self) -> bytes:
        self._answer.seek(0)
        return self._answer.read(_ANSWER_MAX)
