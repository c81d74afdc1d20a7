"""The recorders in a run directory, and whose they are."""

from __future__ import annotations

import os
from pathlib import Path

from perimortem.errors import MalformedInput
from perimortem.model.process import ProcessRef
from perimortem.proc import read_stat
from perimortem.recorder import RecorderFile, recorder_path
from perimortem.recorder.sweep import read_name


def list_recorders(run_dir: Path) -> list[ProcessRef]:
    """Every process that left a recorder, or has one."""
    try:
        names = os.listdir(run_dir)
    except OSError:
        return []
    found = [read_name(name) for name in names if name.endswith(".rec") and name[0] != "."]
    return [ProcessRef(*identity) for identity in found if identity is not None]


def is_alive(process: ProcessRef) -> bool:
    facts = read_stat(process.pid)
    return (
        facts is not None
        and not facts.is_dead
        and facts.start_time_ticks == process.start_time_ticks
    )


def read_monitor_pid(run_dir: Path, process: ProcessRef) -> int | None:
    """The pid of its monitor, from its recorder; 0: it has none, None: unreadable."""
    try:
        recorder = RecorderFile(recorder_path(run_dir, process), process)
    except (OSError, MalformedInput):
        return None
    recorder.close()
    return recorder.monitor_pid
