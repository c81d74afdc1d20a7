"""Requests to end the watch: Ctrl-C, a service manager, a terminal that goes away."""

from __future__ import annotations

import signal
import sys

assert sys.platform == "linux"

from perimortem.monitor.platform.linux.signal_relay import SignalRelay

_ENDING = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGQUIT)


class EndRequests:
    """From now on they arrive here."""

    def __init__(self) -> None:
        self._relay = SignalRelay(_ENDING)

    def waitable(self) -> int:
        """Ready when the watch should end."""
        return self._relay.fileno()

    def close(self) -> None:
        """The watch has ended and everything is stored."""
        self._relay.close()
