"""This machine, and the user we run as."""

from __future__ import annotations

import os
import platform
import sys
from pathlib import Path

assert sys.platform == "linux"

from perimortem.model.incident import Host


def collect_host() -> Host:
    """This machine."""
    try:
        boot_id = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        boot_id = None
    return Host(name=platform.node(), kernel=f"Linux {os.uname().release}", boot_id=boot_id)


def own_uid() -> int | None:
    """The user id that others see of us; None if users have no numbers."""
    return os.geteuid()
