"""The run directory, where agents put their recorders; same rule as in native/src/windows."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

assert sys.platform == "win32"

from perimortem.errors import AccessDenied, PerimortemError


def find_run_dir() -> Path:
    r"""%PERIMORTEM_RUN_DIR%, else %LOCALAPPDATA%\perimortem\run, which is the user's alone."""
    given = os.environ.get("PERIMORTEM_RUN_DIR", "")
    if os.path.isabs(given) and os.path.splitdrive(given)[0]:  # \x is on the current drive
        return Path(given)
    return Path(os.environ.get("LOCALAPPDATA") or r"C:\Windows\Temp") / "perimortem" / "run"


def ensure_run_dir(path: Path) -> None:
    """Create the run directory; raises if it cannot be created, or is a link."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        facts = path.lstat()
    except OSError as error:
        raise AccessDenied(
            f"cannot create the run directory {path}",
            why=error.strerror or str(error),
            remedy="set PERIMORTEM_RUN_DIR to a directory of yours",
        ) from error
    is_link = bool(facts.st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT)
    if not stat.S_ISDIR(facts.st_mode) or is_link:
        raise PerimortemError(
            f"the run directory {path} is not a real directory",
            why="it is a link to another place",
            remedy="set PERIMORTEM_RUN_DIR to a directory of yours",
        )
