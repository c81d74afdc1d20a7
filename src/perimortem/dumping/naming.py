"""Names of dump files: ``<name>-<unix_ts>-<pid>.dmp``, never overwriting another."""

from __future__ import annotations

import os
import re
import sys
import time
from pathlib import Path

from perimortem.model.dump import DumpFormat, DumpOptions

_UNSAFE = re.compile(r"[^A-Za-z0-9._+-]")
_NAME = re.compile(r"(?P<name>.+)-(?P<time>\d+)-(?P<pid>\d+)(?P<ending>(\.[a-z]+)+)")
_SECONDS_MAX = 1000
_RENAMES, _RENAME_PAUSE_S = 10, 0.1


def dump_name(process_name: str, unix_s: int, pid: int, ending: str = ".dmp") -> str:
    """The file name; every character outside [A-Za-z0-9._+-] becomes '_'. No leading dot."""
    safe = _UNSAFE.sub("_", process_name)[:64].lstrip(".") or "process"
    return f"{safe}-{unix_s}-{pid}{ending}"


def choose_ending(options: DumpOptions) -> str:
    """Of the file name: .dmp or .core, followed by .zst if compressed."""
    ending = ".core" if options.format is DumpFormat.CORE else ".dmp"
    return ending + ".zst" if options.compress else ending


def partial_path(path: Path, worker_pid: int) -> Path:
    """Where a worker builds the file, so that two dumps with the same name do not collide."""
    return path.with_name(f".{path.name}.{worker_pid}.partial")


def publish(partial: Path, path: Path) -> Path:
    """Give a finished file its name, atomically; on a clash the next free second of that name.

    Raises FileExistsError if the name contains no second that could be advanced.
    """
    for _ in range(_SECONDS_MAX):
        try:
            _rename_new(partial, path)
        except FileExistsError:
            match = _NAME.fullmatch(path.name)
            if not match:
                raise
            second = int(match["time"]) + 1
            path = path.with_name(f"{match['name']}-{second}-{match['pid']}{match['ending']}")
        else:
            return path
    raise FileExistsError(f"no free name near {path}")


def _rename_new(partial: Path, path: Path) -> None:
    """Rename that refuses to replace; on Unix with link(2)."""
    if sys.platform == "win32":
        _rename_patiently(partial, path)
        return
    try:
        os.link(partial, path)
    except FileExistsError:
        raise
    except OSError:  # a file system without hard links
        if path.exists():
            raise FileExistsError(path) from None
        partial.rename(path)
        return
    partial.unlink()


def _rename_patiently(partial: Path, path: Path) -> None:
    """On Windows rename never replaces; a scanner may hold a newly written file."""
    for _ in range(_RENAMES):
        try:
            partial.rename(path)
        except FileExistsError:
            raise
        except PermissionError:
            time.sleep(_RENAME_PAUSE_S)
        else:
            return
    partial.rename(path)
