"""Named pipes, read and written without waiting."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.winapi.kernel32 import BOOL, DWORD, HANDLE, LPCWSTR, PVOID
from perimortem.winapi.library import Library

PIPE_ACCESS_DUPLEX = 0x3
FILE_FLAG_OVERLAPPED = 0x40000000
FILE_FLAG_FIRST_PIPE_INSTANCE = 0x80000
PIPE_TYPE_MESSAGE = 0x4
PIPE_READMODE_MESSAGE = 0x2
PIPE_REJECT_REMOTE_CLIENTS = 0x8
PIPE_UNLIMITED_INSTANCES = 255

ERROR_MORE_DATA = 234
ERROR_PIPE_CONNECTED = 535
ERROR_IO_INCOMPLETE = 996
ERROR_IO_PENDING = 997


class OVERLAPPED(ctypes.Structure):
    """minwinbase.h"""

    _fields_ = (
        ("Internal", ctypes.c_size_t),
        ("InternalHigh", ctypes.c_size_t),
        ("Offset", DWORD),
        ("OffsetHigh", DWORD),
        ("hEvent", HANDLE),
    )


_k = Library("kernel32")
_overlapped = ctypes.POINTER(OVERLAPPED)
_size = ctypes.POINTER(DWORD)

CreateNamedPipeW = _k.declare(
    "CreateNamedPipeW", HANDLE, LPCWSTR, DWORD, DWORD, DWORD, DWORD, DWORD, DWORD, PVOID
)
ConnectNamedPipe = _k.declare("ConnectNamedPipe", BOOL, HANDLE, _overlapped)
GetNamedPipeClientProcessId = _k.declare(
    "GetNamedPipeClientProcessId", BOOL, HANDLE, ctypes.POINTER(wintypes.ULONG)
)
ReadFile = _k.declare("ReadFile", BOOL, HANDLE, PVOID, DWORD, PVOID, _overlapped)
WriteFile = _k.declare("WriteFile", BOOL, HANDLE, PVOID, DWORD, PVOID, _overlapped)
GetOverlappedResult = _k.declare("GetOverlappedResult", BOOL, HANDLE, _overlapped, _size, BOOL)
CancelIoEx = _k.declare("CancelIoEx", BOOL, HANDLE, _overlapped)
