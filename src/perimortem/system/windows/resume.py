"""Resume a process that our helper has left stopped."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.winapi import kernel32


def let_run(pid: int) -> None:
    """All its threads are resumed once; no effect if it is gone."""
    with kernel32.open_process(kernel32.PROCESS_SUSPEND_RESUME, pid) as handle:
        if handle:
            kernel32.NtResumeProcess(handle)
