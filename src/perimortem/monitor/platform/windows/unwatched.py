"""Run a command without watching it, when we cannot work: it must not suffer for that."""

from __future__ import annotations

import subprocess
import sys

assert sys.platform == "win32"


class Unwatched:
    """Created before anything else."""

    def __init__(self) -> None:
        """Nothing of ours is inherited here."""

    def run(self, argv: tuple[str, ...]) -> int:
        """To its end; returns its status, or 126 or 127, as shells do, if it cannot be started."""
        try:
            return subprocess.call(argv)
        except FileNotFoundError:
            return 127
        except OSError:
            return 126
