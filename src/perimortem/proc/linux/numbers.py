"""The pids of a process: a different one in each pid namespace."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.procfs.status import read_status


def list_numbers(pid: int) -> set[int]:
    """Ours, and those in the namespaces below us."""
    status = read_status(pid)
    return {pid, *(status.numbers if status is not None else ())}
