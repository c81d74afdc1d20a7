"""The possible verdicts of a watch. docs/verdicts.md defines each."""

from __future__ import annotations

from enum import StrEnum


class Verdict(StrEnum):
    """One word for every end of a process."""

    CLEAN_EXIT = "clean-exit"
    FAILED_EXIT = "failed-exit"
    STOPPED = "stopped"
    KILLED = "killed"
    OOM_KILL = "oom-kill"
    CRASH = "crash"
    SILENT_CRASH = "silent-crash"
    HANG = "hang"
    LAUNCH_FAILED = "launch-failed"
    UNKNOWN = "unknown"
