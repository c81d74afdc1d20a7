"""An answer from a library; on Windows in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

assert sys.platform == "win32"

from perimortem.sandbox.confinement import Confinement


def ask_confined(work: Callable[[], bytes], confinement: Confinement, patience_s: float) -> bytes:
    """What ``work`` returns."""
    return work()
