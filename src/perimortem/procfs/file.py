"""A file of /proc or of a control group, which may be gone or refused: then it reads as empty."""

from __future__ import annotations

import os
import sys
from pathlib import Path

assert sys.platform == "linux"

_RECORD_MAX = 4096


def read_file(path: str | Path, size: int = -1) -> bytes:
    """At most ``size`` bytes of it; -1: all."""
    try:
        with open(path, "rb") as file:
            return file.read(size)
    except OSError:
        return b""


def read_record(path: str) -> bytes:
    """A file of one record, as one read(2) gives it: at most 4096 bytes."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return b""
    try:
        return os.read(fd, _RECORD_MAX)
    except OSError:
        return b""
    finally:
        os.close(fd)


def read_text(path: str | Path, size: int = -1) -> str:
    """At most ``size`` bytes as text; those that are not ASCII are replaced."""
    return read_file(path, size).decode("ascii", "replace")
