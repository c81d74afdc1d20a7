"""Resume a process that our helper has left stopped."""

from __future__ import annotations

import os
import signal
import sys

assert sys.platform == "linux"


def let_run(pid: int) -> None:
    """SIGCONT; no effect if it is gone."""
    try:
        fd = os.pidfd_open(pid)
    except OSError:
        return
    try:
        signal.pidfd_send_signal(fd, signal.SIGCONT)
    except OSError:
        return
    finally:
        os.close(fd)
