"""Keep the run directory clean: at the start of each watch, once."""

from __future__ import annotations

import os
from pathlib import Path

from perimortem.proc import read_stat
from perimortem.recorder.sweep import sweep_recorders


def sweep(run_dir: Path) -> int:
    """Remove recorders of processes that are gone and told; returns how many."""
    alive: dict[int, int] = {}
    try:
        names = os.listdir(run_dir)
    except OSError:
        return 0
    for name in names:
        pid = name.lstrip(".").split("-", 1)[0]
        if pid.isdigit():
            facts = read_stat(int(pid))
            if facts is not None:
                alive[int(pid)] = facts.start_time_ticks
    return sweep_recorders(run_dir, alive)
