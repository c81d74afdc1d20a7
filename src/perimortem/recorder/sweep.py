"""Remove recorders that are no longer needed: of dead processes whose end needs no report."""

from __future__ import annotations

import math
import os
import re
import time
from pathlib import Path

from perimortem.errors import MalformedInput
from perimortem.recorder import layout
from perimortem.recorder.decode import decode_recording

KEEP_UNREPORTED_S = 24 * 3600
"""If a dead process left no word, its file is kept a day, for a monitor that was down. Arbitrary."""
_LEFTOVER_S = 60
_SIZE_MAX = layout.file_size(layout.EVENT_SLOT_COUNT_MAX)
_READ_ONLY = os.O_RDONLY | sum(
    getattr(os, name, 0) for name in ("O_CLOEXEC", "O_NOFOLLOW", "O_NONBLOCK", "O_BINARY")
)
_NAME = re.compile(r"\.?([0-9]{1,10})-([0-9]{1,20})\.rec(\.new)?")


def read_name(name: str) -> tuple[int, int] | None:
    """(pid, start time) of a recorder, finished or not, by its file name."""
    match = _NAME.fullmatch(name)
    return (int(match[1]), int(match[2])) if match else None


def sweep_recorders(run_dir: Path, start_time_of: dict[int, int]) -> int:
    """Remove unneeded files; ``start_time_of`` holds every live pid. Returns how many were removed."""
    removed = 0
    now = time.time()
    try:
        entries = list(os.scandir(run_dir))
    except OSError:
        return 0
    for entry in entries:
        match = _NAME.fullmatch(entry.name)
        if not match or start_time_of.get(int(match[1])) == int(match[2]):
            continue
        try:
            age_s = now - entry.stat(follow_symlinks=False).st_mtime
            if age_s > _LEFTOVER_S and (match[3] or age_s > _find_limit_s(entry.path)):
                os.unlink(entry.path)
                removed += 1
        except OSError:
            continue
    return removed


def _find_limit_s(path: str) -> float:
    """How long the recorder of a dead process is kept; an end that was not reported: for ever."""
    with open(os.open(path, _READ_ONLY), "rb") as file:
        data = file.read(_SIZE_MAX)
    try:
        recording = decode_recording(data, time.monotonic_ns())
    except MalformedInput:
        return KEEP_UNREPORTED_S
    if recording.has_bad_end:
        return math.inf
    is_silent = recording.is_silent and not recording.is_forked
    return KEEP_UNREPORTED_S if is_silent else _LEFTOVER_S
