"""A job object: it knows all descendants of the command, no matter which parents they have.

It imposes no limits and does not end its processes.
"""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.library import Library, last_error

_BASIC_PROCESS_ID_LIST = 3
_ASSOCIATE_COMPLETION_PORT = 7
_PROCESSES_MAX = 4096
MSG_NEW_PROCESS = 6
"""JOB_OBJECT_MSG_NEW_PROCESS; the message's value is the pid."""

_SetInformationJobObject = Library("kernel32").declare(
    "SetInformationJobObject",
    wintypes.BOOL,
    wintypes.HANDLE,
    ctypes.c_int,
    ctypes.c_void_p,
    wintypes.DWORD,
)


class _ProcessIdList(ctypes.Structure):
    """JOBOBJECT_BASIC_PROCESS_ID_LIST"""

    _fields_ = (
        ("NumberOfAssignedProcesses", wintypes.DWORD),
        ("NumberOfProcessIdsInList", wintypes.DWORD),
        ("ProcessIdList", ctypes.c_size_t * _PROCESSES_MAX),
    )


class Job:
    """Unnamed: no other process can open it."""

    def __init__(self) -> None:
        self._handle: int | None = kernel32.CreateJobObjectW(None, None)

    def assign(self, process: int) -> bool:
        """``process``: a handle. False if it is in a job that does not allow nesting."""
        return bool(self._handle and kernel32.AssignProcessToJobObject(self._handle, process))

    def report_to(self, port: int, key: int) -> bool:
        """New processes are reported to this completion port."""
        association = kernel32.JOBOBJECT_ASSOCIATE_COMPLETION_PORT(key, port)
        return bool(
            self._handle
            and _SetInformationJobObject(
                self._handle,
                _ASSOCIATE_COMPLETION_PORT,
                ctypes.byref(association),
                ctypes.sizeof(association),
            )
        )

    def list_pids(self) -> list[int]:
        """Its live processes, at most 4,096."""
        found = _ProcessIdList()
        size = ctypes.sizeof(found)
        if not self._handle:
            return []
        ok = kernel32.QueryInformationJobObject(
            self._handle, _BASIC_PROCESS_ID_LIST, ctypes.byref(found), size, None
        )
        if not ok and last_error() != kernel32.ERROR_MORE_DATA:
            return []
        return [int(pid) for pid in found.ProcessIdList[: found.NumberOfProcessIdsInList]]

    def close(self) -> None:
        """Its processes keep running."""
        if self._handle:
            kernel32.CloseHandle(self._handle)
            self._handle = None
