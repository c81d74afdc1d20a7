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
        self.rest = b""
        """After its end: output that had not been read."""
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

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

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
        if self.is_running:
            return None
        if self._is_read:
            return b""
        self._is_read = True
        return self._read_answer()

    def kill(self) -> None:
        self._popen.kill()

    def end(self, patience_s: float) -> int:
        """Its status; one that takes longer is killed."""
        try:
            status = self._popen.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self._popen.kill()
            try:
                status = self._popen.wait(timeout=_KILL_PATIENCE_S)
            except subprocess.TimeoutExpired:
                status = -1  # stuck in the system: it ends when the system lets it
        if not self._is_read:
            self.rest = self._read_answer()
        self._answer.close()
        with suppress(OSError):
            self._stdin.close()
        return status

    def _read_answer(self) -> bytes:
        self._answer.seek(0)
        return self._answer.read(_ANSWER_MAX)
