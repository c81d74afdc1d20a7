"""Let a process run that something of ours has left stopped."""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.toolhelp import list_threads


def let_run(pid: int) -> None:
    """Each thread is resumed once; nothing when it is gone."""
    for tid in list_threads(pid):
        thread = kernel32.OpenThread(kernel32.THREAD_SUSPEND_RESUME, False, tid)
        if thread:
            kernel32.ResumeThread(thread)
            kernel32.CloseHandle(thread)
