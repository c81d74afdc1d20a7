"""The run directory, where agents put their recorders; same rule as in native/src/linux/recorder.c."""

from __future__ import annotations

import os
import stat
import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.errors import AccessDenied, PerimortemError


def find_run_dir() -> Path:
    """$PERIMORTEM_RUN_DIR, $XDG_RUNTIME_DIR/perimortem, /run/perimortem (root), /tmp/perimortem-UID."""
    given = os.environ.get("PERIMORTEM_RUN_DIR", "")
    if given.startswith("/"):
        return Path(given)
    runtime = os.environ.get("XDG_RUNTIME_DIR", "")
    if runtime.startswith("/"):
        return Path(runtime) / "perimortem"
    if os.geteuid() == 0:
        return Path("/run/perimortem")
    return Path(f"/tmp/perimortem-{os.geteuid()}")


def ensure_run_dir(path: Path) -> None:
    """Create the run directory, mode 0700; raises if it cannot be ours alone."""
    try:
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        facts = path.lstat()
    except OSError as error:
        raise AccessDenied(
            f"cannot create the run directory {path}",
            why=error.strerror or str(error),
            remedy="set PERIMORTEM_RUN_DIR to a directory of yours",
        ) from error
    if not stat.S_ISDIR(facts.st_mode) or facts.st_uid != os.geteuid():
        raise PerimortemError(
            f"the run directory {path} is not yours",
            why="another user could replace what is in it",
            remedy="set PERIMORTEM_RUN_DIR to a directory of yours",
        )
    if facts.st_mode & 0o022:
        raise PerimortemError(
            f"the run directory {path} can be written by other users",
            remedy=f"chmod 700 {path}",
        )
