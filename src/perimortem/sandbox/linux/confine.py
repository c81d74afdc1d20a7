"""Confine this process, for ever, as far as the kernel can."""

from __future__ import annotations

import resource
import signal
import sys
from contextlib import suppress
from pathlib import Path

assert sys.platform == "linux"

from perimortem.sandbox.confinement import Confinement
from perimortem.sandbox.linux.death import die_with_parent
from perimortem.sandbox.linux.landlock import refuse_writes
from perimortem.sandbox.linux.rights import drop_capabilities, take_user
from perimortem.sandbox.linux.seccomp import refuse_calls

_OOM_SCORE = "500"
"""If memory runs out, rather this process than a target."""


def end_with_parent() -> None:
    """This process, when its parent ends; Ctrl-C is the parent's business."""
    die_with_parent()
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def confine(confinement: Confinement) -> tuple[str, ...]:
    """Returns what is missing, and why. What is open stays usable."""
    with suppress(OSError):
        Path("/proc/self/oom_score_adj").write_text(_OOM_SCORE)
    _limit(resource.RLIMIT_DATA, confinement.memory_bytes)
    _limit(resource.RLIMIT_CORE, 0)
    if confinement.cpu_s is not None:
        _limit(resource.RLIMIT_CPU, confinement.cpu_s)
    missing = (
        take_user(confinement.user) if confinement.user is not None else None,
        drop_capabilities(reads_process=confinement.reads_process is not None),
        # Landlock would refuse the reading of any process that is not confined as well.
        refuse_writes(confinement.writable) if confinement.reads_process is None else None,
        refuse_calls(confinement.reads_process),
    )
    die_with_parent()  # the change of user has cleared that
    return tuple(text for text in missing if text is not None)


def _limit(which: int, value: int) -> None:
    """Also for our children; never more than it was."""
    _, hard = resource.getrlimit(which)
    least = value if hard == resource.RLIM_INFINITY else min(value, hard)
    with suppress(OSError, ValueError):
        resource.setrlimit(which, (least, least))
