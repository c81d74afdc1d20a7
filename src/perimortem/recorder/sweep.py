"""Remove recorders that are no longer needed: of dead processes, reported or too old to report."""

from __future__ import annotations

import os
import re
import time
from pathlib import Path

from perimortem.recorder.layout import LIVE_WORDS_OFFSET, Header, HeaderFlag, LiveWords

KEEP_UNREPORTED_S = 24 * 3600
"""If a dead process said no goodbye, its file is kept a day, for a monitor that was down. Arbitrary."""
_LEFTOVER_S = 60
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
            is_unneeded = match[3] or _needs_no_report(entry.path)
            limit_s = _LEFTOVER_S if is_unneeded else KEEP_UNREPORTED_S
            if age_s > limit_s:
                os.unlink(entry.path)
                removed += 1
        except OSError:
            continue
    return removed


def _needs_no_report(path: str) -> bool:
    """It said goodbye; or it was a forked child, of which there may be thousands."""
    fd = os.open(path, _READ_ONLY)
    with open(fd, "rb", buffering=0) as file:
        raw = file.read(LIVE_WORDS_OFFSET + LiveWords.size())
    if len(raw) < LIVE_WORDS_OFFSET + LiveWords.size():
        return False
    is_forked = bool(Header.read(raw).flags & HeaderFlag.FORKED)
    return is_forked or LiveWords.read(raw, LIVE_WORDS_OFFSET).goodbye_ns != 0
