"""The facts that identify a process, and whether it has ended (/proc/PID/stat)."""

from __future__ import annotations

import sys

assert sys.platform == "linux"

from perimortem.procfs.stat import ProcessStat, read_stat

__all__ = ["ProcessStat", "read_stat"]
