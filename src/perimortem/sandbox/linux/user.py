"""Whose rights an examination takes: those of the process that it is about."""

from __future__ import annotations

import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.sandbox.confinement import User


def find_user(pid: int) -> User | None:
    """Of a process; None if it is gone."""
    return find_owner(Path(f"/proc/{pid}"))


def find_owner(path: Path) -> User | None:
    """Of a file; None if it cannot be read."""
    try:
        facts = path.stat()
    except OSError:
        return None
    return User(facts.st_uid, facts.st_gid)
