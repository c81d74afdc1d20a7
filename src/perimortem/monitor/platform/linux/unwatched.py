"""Run a command without watching it, when we cannot work: it must not suffer for that."""

from __future__ import annotations

import os
import signal
import sys

assert sys.platform == "linux"

_OURS = (signal.SIGPIPE, signal.SIGXFSZ, signal.SIGCHLD)
"""Changed by Python, or by us."""


class Unwatched:
    """Created before anything else changes how signals are received."""

    def __init__(self) -> None:
        self._mask = signal.pthread_sigmask(signal.SIG_BLOCK, ())
        self._ignores_children = signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN

    def run(self, argv: tuple[str, ...]) -> int:
        """Become the command; returns 126 or 127, as shells do, only if that is impossible."""
        for number in _OURS:
            signal.signal(number, signal.SIG_DFL)
        if self._ignores_children:
            signal.signal(signal.SIGCHLD, signal.SIG_IGN)
        signal.pthread_sigmask(signal.SIG_SETMASK, self._mask)
        try:
            os.execvp(argv[0], argv)
        except FileNotFoundError:
            return 127
        except OSError:
            return 126
