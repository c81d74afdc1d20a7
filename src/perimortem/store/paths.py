"""Where incidents and dumps are kept."""

from __future__ import annotations

import os
import sys
from pathlib import Path

from perimortem.errors import StoreError


def find_data_dir() -> Path:
    """$PERIMORTEM_DATA_DIR, /var/lib/perimortem for root on Linux, else the user's data directory.

    Raises StoreError for a user without a home directory."""
    given = os.environ.get("PERIMORTEM_DATA_DIR")
    if given:
        return Path(given).absolute()
    if sys.platform == "linux" and os.geteuid() == 0:
        return Path("/var/lib/perimortem")
    import platformdirs

    try:
        return Path(platformdirs.user_data_dir("perimortem", appauthor=False))
    except RuntimeError as error:
        raise StoreError(
            "there is no data directory",
            why=str(error),
            remedy="set PERIMORTEM_DATA_DIR to a directory that you can write",
        ) from error


def ensure_data_dir(path: Path) -> Path:
    """Create the directory and its ``dumps``, both 0700; raises :class:`StoreError`."""
    try:
        # On Windows a mode of 0700 locks out the very user if an administrator's shell creates it;
        # the user's own folder is private already.
        mode = 0o777 if sys.platform == "win32" else 0o700
        path.mkdir(mode=mode, parents=True, exist_ok=True)
        (path / "dumps").mkdir(mode=mode, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"cannot create the data directory {path}",
            why=error.strerror or str(error),
            remedy="set PERIMORTEM_DATA_DIR to a directory that you can write",
        ) from error
    if not os.access(path / "dumps", os.W_OK | os.X_OK):
        raise StoreError(
            f"cannot write to the data directory {path}",
            why="permission denied",
            remedy="set PERIMORTEM_DATA_DIR to a directory that you can write",
        )
    return path
