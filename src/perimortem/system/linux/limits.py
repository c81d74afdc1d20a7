"""Limits of our own process."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress

assert sys.platform == "linux"


def raise_own_limits() -> None:
    """Each target takes two descriptors. What `run` starts has been given the limits that we had."""
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
