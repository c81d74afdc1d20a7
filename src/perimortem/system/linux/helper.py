"""One of our helpers: a dump worker, an examiner. One request on its standard input, one answer back.

It is forked, and has its program executed while we go on: on a busy machine that takes longer than all
the rest. If it cannot, it ends without an answer.
"""

from __future__ import annotations

import fcntl
import os
import signal
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import NoReturn

assert sys.platform == "linux"

from perimortem.system.linux.descriptors import close_all_but

_KILL_PATIENCE_S = 1.0
_PIPE_BYTES = 65536
_CHECK_S = 0.001
_NOT_EXECUTED = 127
_UNKNOWN = -1
_DEFAULT = (signal.SIGPIPE, signal.SIGXFSZ)
"""Python ignores them, and what is ignored stays so in a new program."""
_JOB_STOPS = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


class Helper:
    """A child whose answer is read as it arrives."""

    def __init__(
        self, argv: Sequence[str], environment: Mapping[str, str], *, own_session: bool = False
    ) -> None:
        """``own_session``: Ctrl-C does not reach it. Raises OSError if it cannot be started."""
        self._status: int | None = None
        its_question, self._question = os.pipe()
        try:
            self._answer, its_answer = os.pipe()
        except OSError:
            os.close(its_question)
            os.close(self._question)
            raise
        try:
            self._pid = os.fork()
            if self._pid == 0:
                _execute(argv, environment, its_question, its_answer, own_session=own_session)
        except OSError:
            os.close(self._question)
            os.close(self._answer)
            raise
        finally:
            os.close(its_question)
            os.close(its_answer)
        os.set_blocking(self._question, False)
        os.set_blocking(self._answer, False)

    @property
    def pid(self) -> int:
        return self._pid

    def waitable(self) -> int:
        """Ready when there is something to :meth:`read`."""
        return self._answer

    def ask(self, question: bytes) -> None:
        """Writes the request. If the helper has died, its empty answer says so; so does that of one
        whose request did not fit (65,536 bytes, or what the system lets a pipe have)."""
        with suppress(OSError):
            if len(question) > _PIPE_BYTES:
                fcntl.fcntl(self._question, fcntl.F_SETPIPE_SZ, len(question))
            os.write(self._question, question)
        self._close_question()

    def read(self) -> bytes | None:
        """A part of the answer, empty at its end; None: nothing yet."""
        try:
            return os.read(self._answer, 65536)
        except BlockingIOError:
            return None

    def poll(self) -> int | None:
        """Its status, negative for a signal; None while it runs."""
        if self._status is None:
            try:
                pid, status = os.waitpid(self.pid, os.WNOHANG)
            except ChildProcessError:  # reaped elsewhere
                self._status = _UNKNOWN
            else:
                self._status = os.waitstatus_to_exitcode(status) if pid else None
        return self._status

    def terminate(self) -> None:
        """A debugger that is killed may leave its target stopped: it is asked first."""
        self._send(signal.SIGTERM)

    def kill(self) -> None:
        self._send(signal.SIGKILL)

    def end(self, patience_s: float) -> int:
        """Its status; after ``patience_s`` it is killed. Waits."""
        if self._wait(patience_s) is None:
            self.kill()
            self._wait(_KILL_PATIENCE_S)
        return _UNKNOWN if self._status is None else self._status

    def close(self) -> None:
        """Nothing more is read."""
        self._close_question()
        if self._answer >= 0:
            os.close(self._answer)
            self._answer = -1

    def _wait(self, patience_s: float) -> int | None:
        until_s = time.monotonic() + patience_s
        while self.poll() is None and time.monotonic() < until_s:
            time.sleep(_CHECK_S)
        return self._status

    def _send(self, number: int) -> None:
        if self.poll() is None:  # else its pid may be another's
            os.kill(self.pid, number)

    def _close_question(self) -> None:
        if self._question >= 0:
            os.close(self._question)
            self._question = -1


def _execute(
    argv: Sequence[str],
    environment: Mapping[str, str],
    question: int,
    answer: int,
    *,
    own_session: bool,
) -> NoReturn:
    """The child."""
    try:
        if own_session:
            os.setsid()
        null = os.open(os.devnull, os.O_WRONLY)
        # Above the three, in case we were started without them.
        above = [fcntl.fcntl(fd, fcntl.F_DUPFD, 3) for fd in (question, answer, null)]
        for number, fd in enumerate(above):
            os.dup2(fd, number)
        close_all_but(0, 1, 2)
        for number in _DEFAULT:
            signal.signal(number, signal.SIG_DFL)
        # The monitor blocks SIGCHLD, for which a debugger waits. A job that is stopped takes its whole
        # group with it: not its helper, which may be holding a process.
        signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
        signal.pthread_sigmask(signal.SIG_BLOCK, _JOB_STOPS)
        os.execve(argv[0], list(argv), dict(environment))
    finally:
        os._exit(_NOT_EXECUTED)
