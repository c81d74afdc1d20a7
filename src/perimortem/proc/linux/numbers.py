"""The pids of a process: a different one in each pid namespace."""

from __future__ import annotations

import sys

assert sys.platform == "linux"


def list_numbers(pid: int) -> set[int]:
    """Ours, and those in the namespaces below us."""
    try:
        with open(f"/proc/{pid}/status", encoding="ascii", errors="replace") as file:
            line = next((line for line in file if line.startswith("NSpid:")), "")
    except OSError:
        line = ""
    return {pid, *(int(word) for word in line.split()[1:] if word.isdecimal())}
