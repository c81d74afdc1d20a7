"""The processes of a service: on Windows one of the service manager's."""

from __future__ import annotations

import sys

assert sys.platform == "win32"


def has_units() -> bool:
    """The service manager is always there."""
    return True


def list_unit_processes(name: str) -> list[int]:
    """Pids, none when there is no such service or it does not run."""
    import psutil

    try:
        pid = psutil.win_service_get(name).pid()
    except (psutil.Error, OSError):
        return []
    return [pid] if pid else []
