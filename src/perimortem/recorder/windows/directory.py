"""The run directory, where agents leave their recorders; the same rule as in native/src/windows."""

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
    if os.path.isabs(given) and os.path.splitdrive(given)[0]:  # \x is on whatever drive one stands
        return Path(given)
    return Path(os.environ.get("LOCALAPPDATA") or r"C:\Windows\Temp") / "perimortem" / "run"


def ensure_run_dir(path: Path) -> None:
    """Make the run directory; raises when it cannot be made, or leads elsewhere."""
    try:
        path.mkdir(parents=True, exist_ok=True)
        facts = path.lstat()
    except OSError as error:
        raise AccessDenied(
            f"cannot make the run directory {path}",
            why=error.strerror or str(error),
            remedy="set PERIMORTEM_RUN_DIR to a directory of yours",
        ) from error
    is_link = bool(facts.st_file_attributes & stat.FILE_ATTRIBUTE_REPARSE_POINT)
    if not stat.S_ISDIR(facts.st_mode) or is_link:
        raise PerimortemError(
            f"the run directory {path} is not a directory of its own",
            why="it leads elsewhere",
            remedy="set PERIMORTEM_RUN_DIR to a directory of yours",
        )
