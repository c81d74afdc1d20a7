"""Our own terminal."""

from __future__ import annotations

import sys

assert sys.platform == "linux"


def accepts_codes(fd: int) -> bool:
    """Whether this terminal obeys escape codes: here every one does."""
    return True
