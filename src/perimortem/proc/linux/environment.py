"""Single variables of a process's environment, as they were at its last exec."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.text import decode_text

_READ_MAX = 1 << 20
_VALUE_MAX = 64


def read_variables(pid: int, names: tuple[str, ...]) -> dict[str, str]:
    """The variables in ``names`` that are set, as printable text of at most 64 bytes; never others."""
    try:
        with open(f"/proc/{pid}/environ", "rb", buffering=0) as file:
            raw = file.read(_READ_MAX)
    except OSError:
        return {}
    found = {}
    for entry in raw.split(b"\0"):
        name, _, value = entry.partition(b"=")
        text = name.decode("ascii", "replace")
        if text in names:
            found[text] = decode_text(value[:_VALUE_MAX])
    return found
