"""Do the work of a command; on Windows in this process."""

from __future__ import annotations

import sys
from collections.abc import Callable

assert sys.platform == "win32"


def run_confined(work: Callable[[], int], describe_limit: str) -> int:
    """The status that ``work`` returns."""
    return work()
