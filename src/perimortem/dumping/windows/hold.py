"""What a worker leaves behind in a target when it dies: DbgHelp has suspended all its threads.

So the worker reports each thread's suspend count first; any excess is undone.
"""

from __future__ import annotations

import sys

assert sys.platform == "win32"

from perimortem.dumping.protocol import Hold
from perimortem.winapi import kernel32
from perimortem.winapi.process import read_suspend_count
from perimortem.winapi.system_processes import list_threads

_COUNT_MAX = 127
"""MAXIMUM_SUSPEND_COUNT"""


def describe_hold(pid: int) -> Hold:
    """Sent by the worker before it begins."""
    return Hold(tuple((tid, read_suspend_count(tid)) for tid in list_threads(pid)))


def release(pid: int, hold: Hold) -> None:
    """Undo what a dead worker has done to the target beyond ``hold``; a new thread is left alone."""
    before = dict(hold.suspended)
    for tid in list_threads(pid):
        if tid in before:
            for _ in range(min(read_suspend_count(tid) - before[tid], _COUNT_MAX)):
                _resume(tid)


def _resume(tid: int) -> None:
    thread = kernel32.OpenThread(kernel32.THREAD_SUSPEND_RESUME, False, tid)
    if thread:
        kernel32.ResumeThread(thread)
        kernel32.CloseHandle(thread)
