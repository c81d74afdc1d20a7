"""The collector of Linux is core_pattern; this version leaves it alone."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.collector.rule import InstalledRule, Rule
from perimortem.errors import UnsupportedPlatform


def install(rule: Rule) -> bool:
    """Write the rule; False when it stood there already. Raises UnsupportedPlatform."""
    raise UnsupportedPlatform("set up the system's collector")


def uninstall(program: str) -> bool:
    """Take away what was written; False when there was nothing. Raises UnsupportedPlatform."""
    raise UnsupportedPlatform("take away the system's collector")


def list_installed() -> list[InstalledRule]:
    """Every rule there is, ours or not."""
    return []
