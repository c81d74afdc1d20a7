"""Which file contains an address of a process."""

from __future__ import annotations

import re
import sys

assert sys.platform == "linux"

from perimortem.text import printable

_LINE = re.compile(rb"([0-9a-f]+)-([0-9a-f]+) \S+ \S+ \S+ \d+ *(/.*)?")


def find_module(pid: int, address: int) -> tuple[str, int] | None:
    """(path, offset from its start); None for memory without a file."""
    try:
        with open(f"/proc/{pid}/maps", "rb") as file:
            lines = file.read().splitlines()
    except OSError:
        return None
    path, begins = b"", 0
    for line in lines:
        match = _LINE.fullmatch(line)
        if match is None:
            continue
        start, end = int(match[1], 16), int(match[2], 16)
        if match[3] and match[3] != path:
            path, begins = match[3], start
        if start <= address < end:
            if not match[3]:
                return None
            return printable(path.decode("utf-8", "backslashreplace")), address - begins
    return None
