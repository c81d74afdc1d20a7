"""This machine, and the user we run as."""

from __future__ import annotations

import platform
import sys

assert sys.platform == "win32"

from perimortem.model.incident import Host
from perimortem.winapi.version import read_version, read_wine_version


def collect_host() -> Host:
    """This machine; under Wine it says so."""
    major, minor, build = read_version()
    kernel = f"Windows {major}.{minor}.{build}"
    wine = read_wine_version()
    return Host(
        name=platform.node(),
        kernel=f"{kernel} (Wine {wine})" if wine else kernel,
        boot_id=None,
    )


def own_uid() -> int | None:
    """The user id that others see of us; None if users have no numbers."""
    return None
