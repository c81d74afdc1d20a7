"""Clean our directories, once at the start of each watch."""

from __future__ import annotations

import os
import time
from contextlib import suppress
from pathlib import Path

from perimortem.proc import read_stat
from perimortem.recorder.sweep import read_name, sweep_recorders

_PARTIAL_S = 3600
"""No worker needs a file for this long: it was left by a monitor that was killed. Arbitrary."""


def sweep_run_dir(run_dir: Path, monitor_pid: int = 0) -> int:
    """Remove recorders of processes that are gone and need no report; returns how many.

    ``monitor_pid``: that this is done for. Its socket stays even if it was killed meanwhile: as long
    as there is one, its programs go on to record for the next monitor."""
    alive: dict[int, int] = {}
    try:
        names = os.listdir(run_dir)
    except OSError:
        return 0
    for name in names:
        identity = read_name(name)
        facts = read_stat(identity[0]) if identity else None
        if facts is not None and identity is not None:
            alive[identity[0]] = facts.start_time_ticks
    _sweep_sockets(run_dir, [name for name in names if name != f"{monitor_pid}.sock"])
    return sweep_recorders(run_dir, alive)


def _sweep_sockets(run_dir: Path, names: list[str]) -> None:
    """Left by monitors that were killed."""
    for name in names:
        pid = name.removesuffix(".sock")
        if name != pid and pid.isdecimal() and read_stat(int(pid)) is None:
            with suppress(OSError):
                (run_dir / name).unlink()


def sweep_partials(dumps_dir: Path) -> None:
    """Remove dumps that were never finished, and those that were only to be examined."""
    oldest_s = time.time() - _PARTIAL_S
    with suppress(OSError):
        for path in dumps_dir.glob(".*"):
            if path.suffix in (".partial", ".scratch") and path.stat().st_mtime < oldest_s:
                path.unlink()
