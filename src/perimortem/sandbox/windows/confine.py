"""Confine this process, for ever, by a job object.

Windows has no filter that a process can put on itself afterwards: it keeps the rights of its user.
"""

from __future__ import annotations

import ctypes
import signal
import sys
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.sandbox.confinement import Confinement
from perimortem.winapi import kernel32
from perimortem.winapi.kernel32 import BOOL, DWORD, HANDLE, PVOID
from perimortem.winapi.library import Library, describe_error, last_error

_EXTENDED_LIMITS = 9
"""JobObjectExtendedLimitInformation"""
_LIMIT_PROCESS_TIME, _LIMIT_PROCESS_MEMORY, _LIMIT_ACTIVE_PROCESSES = 0x2, 0x100, 0x8
_k = Library("kernel32")
_SetInformationJobObject = _k.declare("SetInformationJobObject", BOOL, HANDLE, DWORD, PVOID, DWORD)


class _ExtendedLimits(ctypes.Structure):
    """JOBOBJECT_EXTENDED_LIMIT_INFORMATION"""

    _fields_ = (
        ("PerProcessUserTimeLimit", ctypes.c_longlong),
        ("PerJobUserTimeLimit", ctypes.c_longlong),
        ("LimitFlags", wintypes.DWORD),
        ("MinimumWorkingSetSize", ctypes.c_size_t),
        ("MaximumWorkingSetSize", ctypes.c_size_t),
        ("ActiveProcessLimit", wintypes.DWORD),
        ("Affinity", ctypes.c_size_t),
        ("PriorityClass", wintypes.DWORD),
        ("SchedulingClass", wintypes.DWORD),
        ("IoInfo", ctypes.c_ulonglong * 6),
        ("ProcessMemoryLimit", ctypes.c_size_t),
        ("JobMemoryLimit", ctypes.c_size_t),
        ("PeakProcessMemoryUsed", ctypes.c_size_t),
        ("PeakJobMemoryUsed", ctypes.c_size_t),
    )


def end_with_parent() -> None:
    """Ctrl-C is the parent's business; its end closes our output."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def confine(confinement: Confinement) -> tuple[str, ...]:
    """Memory, processor time, no further processes. Returns what is missing, and why."""
    limits = _ExtendedLimits()
    limits.LimitFlags = _LIMIT_PROCESS_MEMORY | _LIMIT_ACTIVE_PROCESSES
    limits.ProcessMemoryLimit = confinement.memory_bytes
    limits.ActiveProcessLimit = 1
    if confinement.cpu_s is not None:
        limits.LimitFlags |= _LIMIT_PROCESS_TIME
        limits.PerProcessUserTimeLimit = confinement.cpu_s * 10_000_000
    job = kernel32.CreateJobObjectW(None, None)
    if (
        not job
        or not _SetInformationJobObject(
            job, _EXTENDED_LIMITS, ctypes.byref(limits), ctypes.sizeof(limits)
        )
        or not kernel32.AssignProcessToJobObject(job, kernel32.GetCurrentProcess())
    ):
        return (f"no limits: {describe_error(last_error())}",)
    return ()
