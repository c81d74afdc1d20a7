"""The heartbeat sources of a process that already runs."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.beats.file_age import list_files
from perimortem.beats.process_state import ProcessStateBeat
from perimortem.beats.progress import Progress
from perimortem.beats.source import BeatSource
from perimortem.hangs.policy import WatchPolicy
from perimortem.model.process import ProcessRef
from perimortem.reading import ProcessReader

NEEDS_LAUNCH = ("sd-notify", "output")
"""Sources that must exist before the program does."""


def open_observers(
    process: ProcessRef,
    wanted: tuple[str, ...],
    now_ns: int,
    reader: ProcessReader,
    policy: WatchPolicy,
    *,
    is_observed: bool,
) -> list[BeatSource]:
    """``is_observed``: False if there are too many targets to observe this one from outside."""
    sources: list[BeatSource] = []
    if is_observed:
        strict_pids = (lambda: [process.pid]) if "progress" in wanted else None
        sources = [
            ProcessStateBeat(process, now_ns),
            Progress(process.pid, now_ns, strict_pids, interval_ns=policy.progress_interval_ns),
        ]
    return [*sources, *list_files(wanted, now_ns, reader.read_change)]
