"""Find the C library that lies in the package."""

from __future__ import annotations

import os
from pathlib import Path

_NATIVE = Path(__file__).resolve().parent.parent / "_native"


def find_library() -> Path | None:
    """libperimortem.so.0, or None where it was not built. $PERIMORTEM_LIBRARY_DIR comes first."""
    return _find("libperimortem.so.0")


def find_preload_library() -> Path | None:
    """The agent that is preloaded."""
    return _find("libperimortem_preload.so")


def _find(name: str) -> Path | None:
    given = os.environ.get("PERIMORTEM_LIBRARY_DIR")
    for directory in ([Path(given)] if given else []) + [_NATIVE]:
        if (directory / name).is_file():
            return directory / name
    return None
