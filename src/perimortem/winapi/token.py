"""Integrity levels: a process that cannot write up cannot read up either when it opens another."""

from __future__ import annotations

import ctypes
import sys
from ctypes import wintypes
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.library import Library, last_error

_TOKEN_QUERY = 0x8
_TOKEN_ADJUST_PRIVILEGES = 0x20
_SE_PRIVILEGE_ENABLED = 0x2
_TOKEN_INTEGRITY_LEVEL = 25
_TOKEN_ELEVATION = 20
_WORDS = (
    (0x4000, "system"),
    (0x3000, "high"),
    (0x2000, "medium"),
    (0x1000, "low"),
    (0, "untrusted"),
)

_advapi32 = Library("advapi32")
_OpenProcessToken = _advapi32.declare(
    "OpenProcessToken",
    wintypes.BOOL,
    wintypes.HANDLE,
    wintypes.DWORD,
    ctypes.POINTER(wintypes.HANDLE),
)
_GetTokenInformation = _advapi32.declare(
    "GetTokenInformation",
    wintypes.BOOL,
    wintypes.HANDLE,
    ctypes.c_int,
    ctypes.c_void_p,
    wintypes.DWORD,
    ctypes.POINTER(wintypes.DWORD),
)
_GetSidSubAuthorityCount = _advapi32.declare(
    "GetSidSubAuthorityCount", ctypes.POINTER(ctypes.c_ubyte), ctypes.c_void_p
)
_GetSidSubAuthority = _advapi32.declare(
    "GetSidSubAuthority", ctypes.POINTER(wintypes.DWORD), ctypes.c_void_p, wintypes.DWORD
)


@dataclass(frozen=True, order=True)
class IntegrityLevel:
    """The last part of the level's SID (winnt.h, SECURITY_MANDATORY_*_RID)."""

    rid: int

    @property
    def word(self) -> str:
        return next(word for least, word in _WORDS if self.rid >= least)


def read_integrity_level(pid: int | None) -> IntegrityLevel | None:
    """Of a process, or of ours; None if refused."""
    raw = _read_token(pid, _TOKEN_INTEGRITY_LEVEL)
    if raw is None or len(raw) < 16:
        return None
    sid = ctypes.c_void_p.from_buffer(
        raw
    ).value  # TOKEN_MANDATORY_LABEL begins with a pointer to it
    count = _GetSidSubAuthorityCount(sid)[0]
    return IntegrityLevel(int(_GetSidSubAuthority(sid, count - 1)[0])) if count else None


class _Luid(ctypes.Structure):
    _fields_ = (("low", wintypes.DWORD), ("high", wintypes.LONG))


class _Privileges(ctypes.Structure):
    """TOKEN_PRIVILEGES with one privilege."""

    _fields_ = (("count", wintypes.DWORD), ("luid", _Luid), ("attributes", wintypes.DWORD))


_LookupPrivilegeValueW = _advapi32.declare(
    "LookupPrivilegeValueW",
    wintypes.BOOL,
    wintypes.LPCWSTR,
    wintypes.LPCWSTR,
    ctypes.POINTER(_Luid),
)
_AdjustTokenPrivileges = _advapi32.declare(
    "AdjustTokenPrivileges",
    wintypes.BOOL,
    wintypes.HANDLE,
    wintypes.BOOL,
    ctypes.POINTER(_Privileges),
    wintypes.DWORD,
    ctypes.c_void_p,
    ctypes.c_void_p,
)


def enable_debug_privilege() -> bool:
    """Administrators have it, but disabled: with it processes of other users can be opened. False for
    all other users."""
    token, wanted = wintypes.HANDLE(), _Privileges(1, _Luid(), _SE_PRIVILEGE_ENABLED)
    rights = _TOKEN_QUERY | _TOKEN_ADJUST_PRIVILEGES
    if not _OpenProcessToken(kernel32.GetCurrentProcess(), rights, ctypes.byref(token)):
        return False
    try:
        if not _LookupPrivilegeValueW(None, "SeDebugPrivilege", ctypes.byref(wanted.luid)):
            return False
        done = _AdjustTokenPrivileges(token, False, ctypes.byref(wanted), 0, None, None)
        return bool(done) and last_error() == 0  # else ERROR_NOT_ALL_ASSIGNED
    finally:
        kernel32.CloseHandle(token)


def is_elevated() -> bool:
    """Whether we run with the rights of an administrator."""
    raw = _read_token(None, _TOKEN_ELEVATION)
    return raw is not None and any(raw[:4])


def _read_token(pid: int | None, kind: int) -> bytearray | None:
    rights = kernel32.PROCESS_QUERY_LIMITED_INFORMATION
    if pid is None:
        return _read_token_of(kernel32.GetCurrentProcess(), kind)
    with kernel32.open_process(rights, pid) as process:
        return _read_token_of(process, kind) if process else None


def _read_token_of(process: int, kind: int) -> bytearray | None:
    token = wintypes.HANDLE()
    if not _OpenProcessToken(process, _TOKEN_QUERY, ctypes.byref(token)):
        return None
    try:
        size = wintypes.DWORD()
        buffer = bytearray(256)
        view = (ctypes.c_char * len(buffer)).from_buffer(buffer)
        ok = _GetTokenInformation(token, kind, view, len(buffer), ctypes.byref(size))
        return buffer if ok else None
    finally:
        kernel32.CloseHandle(token)
