"""One of our helpers: a dump worker, a debugger. One request on its standard input, one answer back."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence

assert sys.platform == "linux"

_KILL_PATIENCE_S = 1.0
_JOB_STOPS = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


class Helper:
    """A child whose answer is read as it arrives."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], *, own_session: bool = False
    ) -> None:
        """``own_session``: Ctrl-C does not reach it. Raises OSError if it cannot be started."""
        # Debuggers wait for SIGCHLD, which we block. And a job that is stopped takes its whole
        # group with it: between vfork and exec that would include our child, whose exec we wait for.
        before = signal.pthread_sigmask(signal.SIG_BLOCK, _JOB_STOPS)
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        try:
            self._popen = subprocess.Popen(
                argv,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                env=dict(environment),
                start_new_session=own_session,
            )
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, before)
            if signal.SIGCHLD in before:  # one that arrived meanwhile was lost: check again
                signal.raise_signal(signal.SIGCHLD)
        assert self._popen.stdin is not None
        assert self._popen.stdout is not None
        self._stdin, self._stdout = self._popen.stdin, self._popen.stdout
        os.set_blocking(self._stdout.fileno(), False)
        self.rest = b""
        """After its end: output that had not been read."""

    @property
    def pid(self) -> int:
        return self._popen.pid

    @property
    def is_running(self) -> bool:
        return self._popen.poll() is None

    def waitable(self) -> int:
        """Ready when there is something to :meth:`read`."""
        return self._stdout.fileno()

    def ask(self, question: bytes) -> None:
        """Writes the request. If the helper has died, its empty answer says so."""
        try:
            self._stdin.write(question)
            self._stdin.close()
        except OSError:
            return

    def read(self) -> bytes | None:
        """A part of the answer, empty at its end; None: nothing yet."""
        try:
            return os.read(self._stdout.fileno(), 65536)
        except BlockingIOError:
            return None

    def kill(self) -> None:
        self._popen.kill()

    def end(self, patience_s: float) -> int:
        """Its status. SIGTERM first: a debugger that is killed may leave its target stopped."""
        try:
            status = self._popen.wait(timeout=patience_s)
        except subprocess.TimeoutExpired:
            self._popen.terminate()
            try:
                status = self._popen.wait(timeout=2)
            except subprocess.TimeoutExpired:
                self._popen.kill()
                try:
                    status = self._popen.wait(timeout=_KILL_PATIENCE_S)
                except subprocess.TimeoutExpired:
                    status = -1  # stuck in the kernel, perhaps on a failing disk: it ends later
        while part := self.read():
            self.rest += part
        for pipe in (self._stdin, self._stdout):
            if not pipe.closed:
                try:
                    pipe.close()
                except OSError:
                    continue
        return status
