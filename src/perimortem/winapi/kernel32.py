"""kernel32: processes, threads, waiting, jobs, files. Names and types as the Windows SDK has them."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.winapi.library import Library

BOOL, DWORD, HANDLE, LPCWSTR = wintypes.BOOL, wintypes.DWORD, wintypes.HANDLE, wintypes.LPCWSTR
ULONGLONG, SIZE_T, PVOID = ctypes.c_ulonglong, ctypes.c_size_t, ctypes.c_void_p

ERROR_ACCESS_DENIED = 5
ERROR_INVALID_PARAMETER = 87
ERROR_ALREADY_EXISTS = 183

PROCESS_TERMINATE = 0x0001
PROCESS_VM_OPERATION = 0x0008
PROCESS_VM_READ = 0x0010
PROCESS_DUP_HANDLE = 0x0040
PROCESS_CREATE_PROCESS = 0x0080
PROCESS_QUERY_INFORMATION = 0x0400
PROCESS_SUSPEND_RESUME = 0x0800
PROCESS_QUERY_LIMITED_INFORMATION = 0x1000
SYNCHRONIZE = 0x00100000
THREAD_SUSPEND_RESUME = 0x0002
THREAD_GET_CONTEXT = 0x0008
THREAD_QUERY_INFORMATION = 0x0040
THREAD_QUERY_LIMITED_INFORMATION = 0x0800

STILL_ACTIVE = 259
INFINITE = 0xFFFFFFFF
WAIT_OBJECT_0 = 0
INVALID_HANDLE_VALUE = HANDLE(-1).value
WT_EXECUTEONLYONCE = 0x8
WT_EXECUTEINWAITTHREAD = 0x4

GENERIC_READ = 0x80000000
FILE_SHARE_ALL = 0x7
OPEN_EXISTING = 3
ERROR_MORE_DATA = 234

FILE_NOTIFY_CHANGE_FILE_NAME = 0x1
FILE_NOTIFY_CHANGE_ATTRIBUTES = 0x4
FILE_NOTIFY_CHANGE_LAST_WRITE = 0x10

CTRL_C_EVENT, CTRL_BREAK_EVENT, CTRL_CLOSE_EVENT = 0, 1, 2
CTRL_LOGOFF_EVENT, CTRL_SHUTDOWN_EVENT = 5, 6


class FILETIME(ctypes.Structure):
    """100 ns since 1601, in two halves."""

    _fields_ = (("low", DWORD), ("high", DWORD))

    @property
    def value(self) -> int:
        return int(self.high) << 32 | int(self.low)


class PROCESS_MEMORY_COUNTERS(ctypes.Structure):
    """psapi.h"""

    _fields_ = (
        ("cb", DWORD),
        ("PageFaultCount", DWORD),
        ("PeakWorkingSetSize", SIZE_T),
        ("WorkingSetSize", SIZE_T),
        ("QuotaPeakPagedPoolUsage", SIZE_T),
        ("QuotaPagedPoolUsage", SIZE_T),
        ("QuotaPeakNonPagedPoolUsage", SIZE_T),
        ("QuotaNonPagedPoolUsage", SIZE_T),
        ("PagefileUsage", SIZE_T),
        ("PeakPagefileUsage", SIZE_T),
    )


class IO_COUNTERS(ctypes.Structure):
    """winnt.h"""

    _fields_ = (
        ("ReadOperationCount", ULONGLONG),
        ("WriteOperationCount", ULONGLONG),
        ("OtherOperationCount", ULONGLONG),
        ("ReadTransferCount", ULONGLONG),
        ("WriteTransferCount", ULONGLONG),
        ("OtherTransferCount", ULONGLONG),
    )


class MEMORY_BASIC_INFORMATION(ctypes.Structure):
    """winnt.h, 64-bit"""

    _fields_ = (
        ("BaseAddress", ULONGLONG),
        ("AllocationBase", ULONGLONG),
        ("AllocationProtect", DWORD),
        ("PartitionId", wintypes.WORD),
        ("RegionSize", ULONGLONG),
        ("State", DWORD),
        ("Protect", DWORD),
        ("Type", DWORD),
    )


class JOBOBJECT_ASSOCIATE_COMPLETION_PORT(ctypes.Structure):
    """winnt.h"""

    _fields_ = (("CompletionKey", PVOID), ("CompletionPort", HANDLE))


_k = Library("kernel32")

OpenProcess = _k.declare("OpenProcess", HANDLE, DWORD, BOOL, DWORD)
OpenThread = _k.declare("OpenThread", HANDLE, DWORD, BOOL, DWORD)
CloseHandle = _k.declare("CloseHandle", BOOL, HANDLE)
GetCurrentProcess = _k.declare("GetCurrentProcess", HANDLE)
GetExitCodeProcess = _k.declare("GetExitCodeProcess", BOOL, HANDLE, ctypes.POINTER(DWORD))
TerminateProcess = _k.declare("TerminateProcess", BOOL, HANDLE, wintypes.UINT)
WaitForSingleObject = _k.declare("WaitForSingleObject", DWORD, HANDLE, DWORD)
SuspendThread = _k.declare("SuspendThread", DWORD, HANDLE)
ResumeThread = _k.declare("ResumeThread", DWORD, HANDLE)
IsWow64Process = _k.declare("IsWow64Process", BOOL, HANDLE, ctypes.POINTER(BOOL))
_times = (ctypes.POINTER(FILETIME),) * 4
GetProcessTimes = _k.declare("GetProcessTimes", BOOL, HANDLE, *_times)
GetProcessHandleCount = _k.declare("GetProcessHandleCount", BOOL, HANDLE, ctypes.POINTER(DWORD))
GetProcessIoCounters = _k.declare("GetProcessIoCounters", BOOL, HANDLE, ctypes.POINTER(IO_COUNTERS))
GetProcessMemoryInfo = _k.declare(
    "K32GetProcessMemoryInfo", BOOL, HANDLE, ctypes.POINTER(PROCESS_MEMORY_COUNTERS), DWORD
)
QueryProcessCycleTime = _k.declare("QueryProcessCycleTime", BOOL, HANDLE, ctypes.POINTER(ULONGLONG))
QueryFullProcessImageNameW = _k.declare(
    "QueryFullProcessImageNameW", BOOL, HANDLE, DWORD, wintypes.LPWSTR, ctypes.POINTER(DWORD)
)
VirtualQueryEx = _k.declare(
    "VirtualQueryEx", SIZE_T, HANDLE, PVOID, ctypes.POINTER(MEMORY_BASIC_INFORMATION), SIZE_T
)
ReadProcessMemory = _k.declare(
    "ReadProcessMemory", BOOL, HANDLE, PVOID, PVOID, SIZE_T, ctypes.POINTER(SIZE_T)
)
QueryUnbiasedInterruptTime = _k.declare(
    "QueryUnbiasedInterruptTime", BOOL, ctypes.POINTER(ULONGLONG)
)
GetTickCount64 = _k.declare("GetTickCount64", ULONGLONG)

CreateEventW = _k.declare("CreateEventW", HANDLE, PVOID, BOOL, BOOL, LPCWSTR)
CreateMutexW = _k.declare("CreateMutexW", HANDLE, PVOID, BOOL, LPCWSTR)
SetEvent = _k.declare("SetEvent", BOOL, HANDLE)
ResetEvent = _k.declare("ResetEvent", BOOL, HANDLE)
WAITORTIMERCALLBACK = ctypes.WINFUNCTYPE(None, PVOID, ctypes.c_ubyte)
RegisterWaitForSingleObject = _k.declare(
    "RegisterWaitForSingleObject",
    BOOL,
    ctypes.POINTER(HANDLE),
    HANDLE,
    WAITORTIMERCALLBACK,
    PVOID,
    DWORD,
    DWORD,
)
UnregisterWaitEx = _k.declare("UnregisterWaitEx", BOOL, HANDLE, HANDLE)
CreateIoCompletionPort = _k.declare("CreateIoCompletionPort", HANDLE, HANDLE, HANDLE, SIZE_T, DWORD)
GetQueuedCompletionStatus = _k.declare(
    "GetQueuedCompletionStatus",
    BOOL,
    HANDLE,
    ctypes.POINTER(DWORD),
    ctypes.POINTER(SIZE_T),
    ctypes.POINTER(PVOID),
    DWORD,
)
PostQueuedCompletionStatus = _k.declare(
    "PostQueuedCompletionStatus", BOOL, HANDLE, DWORD, SIZE_T, PVOID
)

CreateJobObjectW = _k.declare("CreateJobObjectW", HANDLE, PVOID, LPCWSTR)
AssignProcessToJobObject = _k.declare("AssignProcessToJobObject", BOOL, HANDLE, HANDLE)
QueryInformationJobObject = _k.declare(
    "QueryInformationJobObject", BOOL, HANDLE, ctypes.c_int, PVOID, DWORD, ctypes.POINTER(DWORD)
)

CreateFileW = _k.declare("CreateFileW", HANDLE, LPCWSTR, DWORD, DWORD, PVOID, DWORD, DWORD, HANDLE)
FindFirstChangeNotificationW = _k.declare(
    "FindFirstChangeNotificationW", HANDLE, LPCWSTR, BOOL, DWORD
)
FindNextChangeNotification = _k.declare("FindNextChangeNotification", BOOL, HANDLE)
FindCloseChangeNotification = _k.declare("FindCloseChangeNotification", BOOL, HANDLE)

HANDLER_ROUTINE = ctypes.WINFUNCTYPE(BOOL, DWORD)
SetConsoleCtrlHandler = _k.declare("SetConsoleCtrlHandler", BOOL, PVOID, BOOL)
GetProcessId = _k.declare("GetProcessId", DWORD, HANDLE)
GetConsoleMode = _k.declare("GetConsoleMode", BOOL, HANDLE, ctypes.POINTER(DWORD))
SetConsoleMode = _k.declare("SetConsoleMode", BOOL, HANDLE, DWORD)
SetErrorMode = _k.declare("SetErrorMode", wintypes.UINT, wintypes.UINT)

_ntdll = Library("ntdll")
NtQueryInformationProcess = _ntdll.declare(
    "NtQueryInformationProcess", wintypes.LONG, HANDLE, wintypes.ULONG, PVOID, wintypes.ULONG, PVOID
)
NtQueryInformationThread = _ntdll.declare(
    "NtQueryInformationThread", wintypes.LONG, HANDLE, wintypes.ULONG, PVOID, wintypes.ULONG, PVOID
)
NtResumeProcess = _ntdll.declare("NtResumeProcess", wintypes.LONG, HANDLE)
RtlGetVersion = _ntdll.declare("RtlGetVersion", wintypes.LONG, PVOID)
wine_get_version = _ntdll.find("wine_get_version", ctypes.c_char_p)
"""There under Wine only."""


@contextmanager
def open_process(rights: int, pid: int) -> Iterator[int | None]:
    """A handle for the block, or None where it is refused (``last_error``)."""
    handle = OpenProcess(rights, False, pid)
    try:
        yield handle
    finally:
        if handle:
            CloseHandle(handle)
