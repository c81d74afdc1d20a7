"""We are asked to end the watch: Ctrl-C, a console that is closed, the end of the session."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.monitor.platform.windows.console import Console


class EndRequests:
    """From now on they come here."""

    def __init__(self) -> None:
        self._console = Console()

    def waitable(self) -> int:
        """Ready when the watch shall end."""
        return self._console.waitable()

    def close(self) -> None:
        """The watch has ended and everything is kept."""
        self._console.close()
