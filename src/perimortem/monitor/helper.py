"""Start a helper of ours: a dump worker, a debugger."""

from __future__ import annotations

import signal
import subprocess
import sys
from typing import Any

assert sys.platform == "linux"


def start_helper(argv: list[str] | tuple[str, ...], **options: Any) -> subprocess.Popen[bytes]:
    """Popen, with SIGCHLD as it is by default: debuggers wait for it, and we hold it back.

    One that comes to us meanwhile is lost; whoever acts on them looks once a second as well.
    """
    before = signal.pthread_sigmask(signal.SIG_UNBLOCK, {signal.SIGCHLD})
    try:
        return subprocess.Popen(argv, **options)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
