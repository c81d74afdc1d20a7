"""Ctrl-Z stops both: the shell waits for us, so when the target stops for the terminal, so do we."""

from __future__ import annotations

import os
import signal
import sys

assert sys.platform == "linux"

_CLD_STOPPED = 5
_FOR_THE_TERMINAL = (signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU)


def stop_with(pidfd: int) -> bool:
    """Stop ourselves if our child has just stopped as a job of a terminal; returns after SIGCONT.

    The target stops first and in its own time: an editor restores the terminal before. Without a
    terminal nothing would resume us; then only the target is stopped.
    """
    try:
        info = os.waitid(os.P_PIDFD, pidfd, os.WSTOPPED | os.WNOHANG)
    except ChildProcessError:
        return False
    if info is None or info.si_code != _CLD_STOPPED or info.si_status not in _FOR_THE_TERMINAL:
        return False
    if not _has_terminal():
        return False
    os.kill(os.getpid(), signal.SIGSTOP)
    return True


def _has_terminal() -> bool:
    """A controlling terminal in whose session our group is a job."""
    try:
        fd = os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC)
    except OSError:
        return False
    try:
        return os.tcgetpgrp(fd) > 0
    except OSError:
        return False
    finally:
        os.close(fd)
