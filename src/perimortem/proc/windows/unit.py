"""The processes of a service: on Windows, of the service control manager."""

from __future__ import annotations

import sys

assert sys.platform == "win32"


def has_units() -> bool:
    """The service control manager is always present."""
    return True


def list_unit_processes(name: str) -> list[int]:
    """Pids; none if there is no such service or it is not running."""
    import psutil

    try:
        pid = psutil.win_service_get(name).pid()
    except (psutil.Error, OSError):
        return []
    return [pid] if pid else []
