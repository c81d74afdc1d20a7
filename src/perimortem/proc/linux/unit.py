"""The processes of a service: on Linux a unit of systemd."""

from __future__ import annotations

import os
import sys

assert sys.platform == "linux"

from perimortem.proc.linux.cgroup import find_unit, list_group_processes


def has_units() -> bool:
    """systemd is the service manager here (sd_booted(3))."""
    return os.path.isdir("/run/systemd/system")


def list_unit_processes(name: str) -> list[int]:
    """Pids; none if there is no such unit or it is not running. "redis" means redis.service."""
    return list_group_processes(find_unit(name))
