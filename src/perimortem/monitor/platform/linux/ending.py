"""How we exit when the target has ended."""

from __future__ import annotations

import os
import signal
import sys

assert sys.platform == "linux"

from perimortem.model.exits import Exit


def end_like(end: Exit) -> None:
    """Die by the signal that ended the target, so that a supervisor sees it; returns if there was none,
    or if that is impossible (pid 1)."""
    import resource

    number = end.signal
    if number is None:
        return

    resource.setrlimit(resource.RLIMIT_CORE, (0, resource.getrlimit(resource.RLIMIT_CORE)[1]))
    if number not in (signal.SIGKILL, signal.SIGSTOP):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, {number})
    os.kill(os.getpid(), number)
