"""Find the C library inside the package."""

from __future__ import annotations

import os
import sys
from pathlib import Path

_NATIVE = Path(__file__).resolve().parent.parent / "_native"


def find_library() -> Path | None:
    """libperimortem.so.0, on Windows perimortem.dll; None if it was not built.

    $PERIMORTEM_LIBRARY_DIR takes precedence."""
    return _find("perimortem.dll" if sys.platform == "win32" else "libperimortem.so.0")


def find_preload_library() -> Path | None:
    """The agent that is preloaded."""
    return _find("libperimortem_preload.so")


def find_core_helper() -> Path | None:
    """The program that core_pattern starts."""
    return _find("core-helper")


def _find(name: str) -> Path | None:
    given = os.environ.get("PERIMORTEM_LIBRARY_DIR")
    for directory in ([Path(given)] if given else []) + [_NATIVE]:
        if (directory / name).is_file():
            return directory / name
    return None
