"""Facts that a process handle gives."""

from __future__ import annotations

import ctypes
import sys
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.winapi import kernel32

_PATH_MAX = 32768
_MEM_COMMIT, _PAGE_NOACCESS, _PAGE_GUARD = 0x1000, 0x01, 0x100
_THREAD_SUSPEND_COUNT = 35
"""ThreadSuspendCount of NtQueryInformationThread, Windows 8.1 on."""


@dataclass(frozen=True)
class ProcessTimes:
    """GetProcessTimes, in 100 ns; the first two since 1601."""

    created: int
    exited: int
    kernel: int
    user: int


def read_times(handle: int) -> ProcessTimes | None:
    created, exited, kernel, user = (kernel32.FILETIME() for _ in range(4))
    pointers = (ctypes.byref(time) for time in (created, exited, kernel, user))
    if not kernel32.GetProcessTimes(handle, *pointers):
        return None
    return ProcessTimes(created.value, exited.value, kernel.value, user.value)


def is_running(handle: int) -> bool:
    """By its exit code; 259 may be a real one, so then by its exit time."""
    code = kernel32.DWORD()
    if not kernel32.GetExitCodeProcess(handle, ctypes.byref(code)):
        return True
    if code.value != kernel32.STILL_ACTIVE:
        return False
    times = read_times(handle)
    return times is None or times.exited == 0


def read_image_path(handle: int) -> str | None:
    """The program's file, as Win32 spells it."""
    buffer = ctypes.create_unicode_buffer(_PATH_MAX)
    size = kernel32.DWORD(_PATH_MAX)
    if not kernel32.QueryFullProcessImageNameW(handle, 0, buffer, ctypes.byref(size)):
        return None
    return buffer.value


def estimate_memory(handle: int) -> int:
    """Bytes that a dump with full memory holds: all that is committed and may be read."""
    region = kernel32.MEMORY_BASIC_INFORMATION()
    size = ctypes.sizeof(region)
    address = total = 0
    while kernel32.VirtualQueryEx(handle, address, ctypes.byref(region), size):
        is_readable = not region.Protect & (_PAGE_NOACCESS | _PAGE_GUARD)
        if region.State == _MEM_COMMIT and is_readable:
            total += region.RegionSize
        after = region.BaseAddress + region.RegionSize
        if after <= address:
            break
        address = after
    return total


class BasicInformation(ctypes.Structure):
    """PROCESS_BASIC_INFORMATION (winternl.h)."""

    _fields_ = (
        ("ExitStatus", ctypes.c_void_p),
        ("PebBaseAddress", ctypes.c_void_p),
        ("AffinityMask", ctypes.c_void_p),
        ("BasePriority", ctypes.c_void_p),
        ("UniqueProcessId", ctypes.c_size_t),
        ("InheritedFromUniqueProcessId", ctypes.c_size_t),
    )


def read_basic_information(handle: int) -> BasicInformation | None:
    """None when it is refused."""
    information = BasicInformation()
    size = ctypes.sizeof(information)
    status = kernel32.NtQueryInformationProcess(handle, 0, ctypes.byref(information), size, None)
    return None if status < 0 else information


def read_suspend_count(tid: int) -> int:
    """How often a thread is suspended; 0 if unknown, and once it has ended."""
    thread = kernel32.OpenThread(kernel32.THREAD_QUERY_LIMITED_INFORMATION, False, tid)
    if not thread:
        return 0
    count = kernel32.DWORD()
    status = kernel32.NtQueryInformationThread(
        thread, _THREAD_SUSPEND_COUNT, ctypes.byref(count), ctypes.sizeof(count), None
    )
    kernel32.CloseHandle(thread)
    return int(count.value) if status >= 0 else 0
