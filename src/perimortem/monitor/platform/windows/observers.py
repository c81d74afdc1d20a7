"""The heartbeat sources of a process that already runs."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.beats.file_age import list_files
from perimortem.beats.process_state import ProcessStateBeat
from perimortem.beats.progress import Progress
from perimortem.beats.source import BeatSource
from perimortem.beats.windows.window import Window
from perimortem.hangs.policy import WatchPolicy
from perimortem.model.process import ProcessRef
from perimortem.reading import ProcessReader

NEEDS_LAUNCH = ("sd-notify", "output")
"""Sources that must exist before the program does, or that this system does not support."""


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
        sources.append(ProcessStateBeat(process, now_ns))
    if "progress" in wanted:
        sources.append(Progress(process.pid, now_ns, lambda: [process.pid]))
    if "window" in wanted:
        sources.append(Window(lambda: [process.pid], now_ns))
    return [*sources, *list_files(wanted, now_ns, reader.read_change)]
