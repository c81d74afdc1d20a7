"""DbgHelp!MiniDumpWriteDump, called for another process."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.model.dump import MinidumpType
from perimortem.winapi.library import Library, last_error

_IS_PROCESS_SNAPSHOT_CALLBACK = 16
_S_FALSE = 1
_CALLBACK_ROUTINE = ctypes.WINFUNCTYPE(
    wintypes.BOOL, ctypes.c_void_p, ctypes.c_void_p, ctypes.c_void_p
)


class _CallbackInformation(ctypes.Structure):
    """MINIDUMP_CALLBACK_INFORMATION"""

    _fields_ = (("CallbackRoutine", _CALLBACK_ROUTINE), ("CallbackParam", ctypes.c_void_p))


class _CallbackInput(ctypes.Structure):
    """The head of MINIDUMP_CALLBACK_INPUT, packed to 4 as minidumpapiset.h has it."""

    _pack_ = 4
    _fields_ = (
        ("ProcessId", wintypes.ULONG),
        ("ProcessHandle", wintypes.HANDLE),
        ("CallbackType", wintypes.ULONG),
    )


_MiniDumpWriteDump = Library("dbghelp").declare(
    "MiniDumpWriteDump",
    wintypes.BOOL,
    wintypes.HANDLE,
    wintypes.DWORD,
    wintypes.HANDLE,
    wintypes.DWORD,
    ctypes.c_void_p,
    ctypes.c_void_p,
    ctypes.c_void_p,
)


def _say_it_is_a_snapshot(_parameter: int, given: int, answer: int) -> int:
    head = _CallbackInput.from_address(given)
    if head.CallbackType == _IS_PROCESS_SNAPSHOT_CALLBACK:
        ctypes.c_long.from_address(answer).value = _S_FALSE  # the answer that it expects for yes
    return 1


_snapshot_routine = _CALLBACK_ROUTINE(_say_it_is_a_snapshot)


def write_minidump(
    source: int,
    pid: int,
    file: int,
    types: MinidumpType,
    *,
    is_snapshot: bool,
    write: Callable[..., int] = _MiniDumpWriteDump,
) -> int:
    """0, or the error. After a success GetLastError is noise: only the result counts."""
    callback = None
    if is_snapshot:
        callback = ctypes.byref(_CallbackInformation(_snapshot_routine, None))
    ctypes.set_last_error(0)
    if write(source, pid, file, int(types), None, None, callback):
        return 0
    return last_error() or -1
