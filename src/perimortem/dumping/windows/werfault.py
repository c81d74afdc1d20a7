"""Windows' own reporter working on a process: WerFault.exe -u -p PID, or -pss -p PID.

A second dump beside it would disturb it, and show its pauses: so we wait for it and name its result.
"""

from __future__ import annotations

import os
import re
import sys
import time
from collections.abc import Iterable
from pathlib import Path

assert sys.platform == "win32"

from perimortem.errors import CaptureFailed
from perimortem.model.process import ProcessRef
from perimortem.proc import collect_process_info, list_processes, read_stat

_PATIENCE_S = 30.0
_POLL_S = 0.1
_TARGET = re.compile(r"(?:^|\s)-i?p\s+(\d{1,10})(?=\s|$)", re.IGNORECASE)


def reported_pids(command_line: str) -> set[int]:
    """The processes that a WerFault works on, from its command line."""
    return {int(match[1]) for match in _TARGET.finditer(command_line)}


def find_reporters(pid: int) -> list[int]:
    """WerFault processes that are working on ``pid``."""
    found = []
    for other, names in list_processes():
        if not any(name.lower() == "werfault.exe" for name in names):
            continue
        facts = read_stat(other)
        if facts is None or facts.is_dead:
            continue
        target = collect_process_info(ProcessRef(other, facts.start_time_ticks))
        if pid in reported_pids(" ".join(target.command_line)):
            found.append(other)
    return found


def await_reporter(pid: int) -> None:
    """Wait until no reporter works on ``pid``.

    Raises CaptureFailed if it ended the process, or takes too long; the error names what was written."""
    began_s = time.time()
    deadline = time.monotonic() + _PATIENCE_S
    seen: list[int] = []
    while reporters := find_reporters(pid):
        seen = reporters
        if time.monotonic() > deadline:
            raise CaptureFailed(
                f"process {pid} is already being dumped",
                why=f"WerFault (process {reporters[0]}) has been working on it for {_PATIENCE_S:g} s",
                remedy="see its result in the Event Viewer, or wait for it",
            )
        time.sleep(_POLL_S)
    facts = read_stat(pid)
    if seen and (facts is None or facts.is_dead):
        written = find_dumps(pid, began_s, _dump_folders())
        where = f"it wrote {written[0]}" if written else "see the Event Viewer"
        raise CaptureFailed(
            f"process {pid} was dumped by Windows and has ended",
            why="WerFault was working on it",
            remedy=where,
        )


def find_dumps(pid: int, since_s: float, folders: Iterable[Path]) -> list[Path]:
    """Dumps of WER LocalDumps: NAME.exe.PID.dmp."""
    found = []
    for folder in folders:
        for path in folder.glob(f"*.{pid}.dmp") if folder.is_dir() else ():
            if path.stat().st_mtime >= since_s - 1:
                found.append(path)
    return found


def _dump_folders() -> list[Path]:
    local = os.environ.get("LOCALAPPDATA")
    return [Path(local) / "CrashDumps"] if local else []
