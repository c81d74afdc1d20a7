"""Limits of our own process."""

from __future__ import annotations

import resource
import sys
from contextlib import suppress

assert sys.platform == "linux"


def descriptors_max() -> int:
    """How many descriptors this process may have."""
    return resource.getrlimit(resource.RLIMIT_NOFILE)[0]


def refuse_own_core() -> None:
    """We write no core and report none: 1 is the kernel's mark for helpers of core_pattern."""
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (1, 1))


def raise_own_limits() -> None:
    """Each target takes two descriptors; a dump is large. What `run` starts gets our original limits."""
    for limit in (resource.RLIMIT_NOFILE, resource.RLIMIT_FSIZE):
        _, hard = resource.getrlimit(limit)
        with suppress(OSError, ValueError):
            resource.setrlimit(limit, (hard, hard))
