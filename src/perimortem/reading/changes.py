"""Whether a file has changed. It may be on a server that does not answer."""

from __future__ import annotations

import os


def read_change(path: str) -> tuple[int, int, int] | None:
    """Time of the last change (ns since 1970), size, and inode; None if there is no such file."""
    try:
        facts = os.stat(path)
    except OSError:
        return None
    return facts.st_mtime_ns, facts.st_size, facts.st_ino
