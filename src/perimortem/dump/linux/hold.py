"""What a worker leaves behind in a target when it dies: nothing, for the kernel lets it run on."""

from __future__ import annotations

import sys
from dataclasses import dataclass

assert sys.platform == "linux"


@dataclass(frozen=True)
class Hold:
    """How the target's threads stood before the dump; empty here."""

    suspended: tuple[tuple[int, int], ...] = ()
    """(tid, how often it was suspended)"""


def describe_hold(pid: int) -> Hold:
    """Said by the worker before it begins."""
    return Hold()


def release(pid: int, hold: Hold) -> None:
    """Undo what a dead worker has done to the target beyond ``hold``."""
