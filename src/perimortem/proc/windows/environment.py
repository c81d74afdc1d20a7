"""Single variables of a process's environment, as they are now."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.proc.windows.parameters import read_environment
from perimortem.text import printable

_VALUE_MAX = 64


def read_variables(pid: int, names: tuple[str, ...]) -> dict[str, str]:
    """The variables in ``names`` that are set, as printable text, truncated; never others."""
    found = {}
    for entry in read_environment(pid):
        name, _, value = entry.partition("=")
        if name.upper() in names:
            found[name.upper()] = printable(value[:_VALUE_MAX])
    return found
