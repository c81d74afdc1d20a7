"""DbgHelp!MiniDumpWriteDump, called for another process."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.model.crash import Crash
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


class _ExceptionRecord(ctypes.Structure):
    """EXCEPTION_RECORD"""

    _fields_ = (
        ("ExceptionCode", wintypes.DWORD),
        ("ExceptionFlags", wintypes.DWORD),
        ("ExceptionRecord", ctypes.c_void_p),
        ("ExceptionAddress", ctypes.c_void_p),
        ("NumberParameters", wintypes.DWORD),
        ("ExceptionInformation", ctypes.c_uint64 * 15),
    )


class _ExceptionPointers(ctypes.Structure):
    """EXCEPTION_POINTERS"""

    _fields_ = (("ExceptionRecord", ctypes.c_void_p), ("ContextRecord", ctypes.c_void_p))


class _ExceptionInformation(ctypes.Structure):
    """MINIDUMP_EXCEPTION_INFORMATION, packed to 4."""

    _pack_ = 4
    _fields_ = (
        ("ThreadId", wintypes.DWORD),
        ("ExceptionPointers", ctypes.c_void_p),
        ("ClientPointers", wintypes.BOOL),
    )


_CONTEXT_SIZE = 1232
_CONTEXT_ALIGN = 16
_ACCESS_VIOLATIONS = (0xC0000005, 0xC0000006)


class _LocalException:
    """An exception in our own memory, in the form that DbgHelp takes for another process."""

    def __init__(self, crash: Crash) -> None:
        self._room = ctypes.create_string_buffer(_CONTEXT_SIZE + _CONTEXT_ALIGN)
        context = ctypes.addressof(self._room)
        context += -context % _CONTEXT_ALIGN
        ctypes.memmove(context, crash.windows_context, _CONTEXT_SIZE)
        is_access = crash.code in _ACCESS_VIOLATIONS
        self._record = _ExceptionRecord(
            ExceptionCode=crash.code,
            ExceptionAddress=crash.program_counter,
            NumberParameters=2 if is_access else 1,
        )
        self._record.ExceptionInformation[0] = crash.parameter
        self._record.ExceptionInformation[1] = crash.address if is_access else 0
        self._pointers = _ExceptionPointers(ctypes.addressof(self._record), context)
        self.information = _ExceptionInformation(crash.tid, ctypes.addressof(self._pointers), False)


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
        ctypes.c_long.from_address(answer).value = _S_FALSE  # DbgHelp's "yes"
    return 1


_snapshot_routine = _CALLBACK_ROUTINE(_say_it_is_a_snapshot)


def write_minidump(
    source: int,
    pid: int,
    file: int,
    types: MinidumpType,
    *,
    is_snapshot: bool,
    crash: Crash | None = None,
    write: Callable[..., int] = _MiniDumpWriteDump,
) -> int:
    """0, or the error. After a success GetLastError is meaningless: only the result counts."""
    callback = None
    if is_snapshot:
        callback = ctypes.byref(_CallbackInformation(_snapshot_routine, None))
    local = None
    if crash is not None and len(crash.windows_context) == _CONTEXT_SIZE:
        local = _LocalException(crash)
    exception = ctypes.byref(local.information) if local else None
    ctypes.set_last_error(0)
    if write(source, pid, file, int(types), exception, None, callback):
        return 0
    return last_error() or -1
