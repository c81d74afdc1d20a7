"""Was a signal meant for the whole process group, or for us alone?

`kill -TERM -PGID` and a supervisor that ends a control group reach the target directly; passing
such a signal on would deliver it twice, and many servers take the second as "at once". siginfo does not
distinguish the two. So a child of ours listens in the same process group and control group: a signal
that it receives, too, was sent to all.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from collections.abc import Iterable
from typing import NoReturn

assert sys.platform == "linux"

PATIENCE_NS = 30_000_000
"""A supervisor signals a control group process by process. Arbitrary."""
_DISMISSED = signal.SIGURG
"""Ignored by any process that does not wait for it."""
_PR_SET_PDEATHSIG = 1
_PR_SET_NAME = 15


class ProcessGroupProbe:
    """Forked before anything else is started, while we have one thread."""

    def __init__(self, signals: Iterable[int]) -> None:
        """``signals``: already blocked in this process."""
        wanted = set(signals)
        self._mask = sum(1 << (number - 1) for number in wanted)
        monitor_pid = os.getpid()
        self._fd, write_fd = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        # Blocked from its first moment: it may be dismissed before it has run, and SIGURG is ignored
        # where it is not blocked.
        mask = signal.pthread_sigmask(signal.SIG_BLOCK, {_DISMISSED})
        try:
            self.pid = os.fork()
            if self.pid == 0:
                _listen(wanted, write_fd, monitor_pid)
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, mask)
        os.close(write_fd)

    def fileno(self) -> int:
        return self._fd

    def receive(self) -> list[int]:
        """Signal numbers that it received."""
        try:
            return list(os.read(self._fd, 512))
        except BlockingIOError:
            return []

    def is_idle(self) -> bool:
        """It has received and reported everything that was sent to it.

        On a loaded machine it may not have run since: then a signal is still pending, or it is not
        asleep. True as well when its state cannot be read."""
        try:
            with open(f"/proc/{self.pid}/status", encoding="ascii", errors="replace") as file:
                lines = dict(line.split(":\t", 1) for line in file if ":\t" in line)
            pending = int(lines["SigPnd"], 16) | int(lines["ShdPnd"], 16)
            return lines["State"].startswith("S") and not pending & self._mask
        except (OSError, KeyError, ValueError):
            return True

    def close(self) -> None:
        os.close(self._fd)
        os.kill(self.pid, _DISMISSED)
        os.waitpid(self.pid, 0)


def _listen(wanted: set[int], write_fd: int, monitor_pid: int) -> NoReturn:
    """Never returns: the child of the fork."""
    libc = ctypes.CDLL(None)
    libc.prctl(_PR_SET_PDEATHSIG, _DISMISSED, 0, 0, 0)
    wanted = wanted | {_DISMISSED}
    libc.prctl(_PR_SET_NAME, b"pmr-group-probe", 0, 0, 0)
    # The target's streams must not be kept open here.
    os.dup2(write_fd, 0)
    os.closerange(1, 65536)
    signal.pthread_sigmask(signal.SIG_BLOCK, wanted)
    while os.getppid() == monitor_pid:
        try:
            heard = signal.sigwaitinfo(wanted)
            if heard.si_signo == _DISMISSED:
                break
            os.write(0, bytes([heard.si_signo]))
        except InterruptedError:
            continue
        except OSError:
            break
    os._exit(0)
