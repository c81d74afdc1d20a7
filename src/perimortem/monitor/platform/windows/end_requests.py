"""Requests to end the watch: Ctrl-C, console close, logoff."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.monitor.platform.windows.console import Console


class EndRequests:
    """From now on they arrive here."""

    def __init__(self) -> None:
        self._console = Console()

    def waitable(self) -> int:
        """Ready when the watch should end."""
        return self._console.waitable()

    def close(self) -> None:
        """The watch has ended and everything is stored."""
        self._console.close()
