"""How we exit when the target has ended: on Windows its exit code is all there is."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.model.exits import Exit


def end_like(end: Exit) -> None:
    """Nothing but the exit code, which is passed on anyway."""
