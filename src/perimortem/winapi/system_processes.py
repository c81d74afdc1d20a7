"""All processes with all their threads in one question: NtQuerySystemInformation, class 5.

Toolhelp gives the same list entry by entry, and the threads of the whole machine for each process that
is asked about. One answer serves all who ask within a moment: for a hundred targets, too, it is asked
four times a second at most. SYSTEM_PROCESS_INFORMATION and SYSTEM_THREAD_INFORMATION of 64-bit Windows
(winternl.h; the members that it calls reserved have been where they are since Windows 7).
"""

from __future__ import annotations

import ctypes
import struct
import sys
import time
from ctypes import wintypes
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.winapi.library import Library

_SYSTEM_PROCESS_INFORMATION = 5
_STATUS_INFO_LENGTH_MISMATCH = 0xC0000004
_SIZE_FIRST, _SIZE_MAX = 1 << 19, 1 << 27
_PROCESS_SIZE, _THREAD_SIZE = 0x100, 0x50
_THREAD_STATE_WAITING, _WAIT_REASON_SUSPENDED = 5, 5
_FRESH_S = 0.25

_NtQuerySystemInformation = Library("ntdll").declare(
    "NtQuerySystemInformation",
    wintypes.LONG,
    wintypes.ULONG,
    ctypes.c_void_p,
    wintypes.ULONG,
    ctypes.POINTER(wintypes.ULONG),
)


@dataclass(frozen=True)
class ThreadEntry:
    """``state`` is 0 if the system does not provide it (Wine)."""

    tid: int
    context_switches: int
    state: int
    wait_reason: int
    cpu_100ns: int = 0

    @property
    def is_suspended(self) -> bool:
        return self.state == _THREAD_STATE_WAITING and self.wait_reason == _WAIT_REASON_SUSPENDED


@dataclass(frozen=True)
class ProcessEntry:
    """Times in 100 ns, the creation time since 1601. The parent may be gone, its pid another's by now.

    Without threads it is a clone made for a snapshot, or what is left of a dead one."""

    pid: int
    parent_pid: int
    name: str
    create_time: int
    user_time: int
    kernel_time: int
    handle_count: int
    working_set_bytes: int
    io_operations: int
    threads: tuple[ThreadEntry, ...]


def list_processes_now() -> dict[int, ProcessEntry]:
    """By pid; at most a quarter of a second old. Empty if the system refuses."""
    global _latest
    taken_s, entries = _latest
    if time.monotonic() - taken_s > _FRESH_S:
        entries = {entry.pid: entry for entry in _query()}
        _latest = (time.monotonic(), entries)
    return entries


_latest: tuple[float, dict[int, ProcessEntry]] = (-1.0, {})


def forget_processes() -> None:
    """Something is known to have changed: the next query reads it again."""
    global _latest
    _latest = (-1.0, {})


def _query() -> list[ProcessEntry]:
    size = _SIZE_FIRST
    while size <= _SIZE_MAX:
        buffer = ctypes.create_string_buffer(size)
        used = wintypes.ULONG()
        status = _NtQuerySystemInformation(
            _SYSTEM_PROCESS_INFORMATION, buffer, size, ctypes.byref(used)
        )
        if status & 0xFFFFFFFF == _STATUS_INFO_LENGTH_MISMATCH:
            size *= 2
            continue
        if status < 0:
            return []
        return parse_processes(buffer.raw[: used.value or size], ctypes.addressof(buffer))
    return []


def parse_processes(raw: bytes, address: int) -> list[ProcessEntry]:
    """Pure. ``address``: where ``raw`` was, since the names are pointers into it."""
    found = []
    at = 0
    while at + _PROCESS_SIZE <= len(raw):
        next_at, thread_count = struct.unpack_from("<II", raw, at)
        create_time, user_time, kernel_time = struct.unpack_from("<QQQ", raw, at + 0x20)
        name_size, _, name_address = struct.unpack_from("<HHxxxxQ", raw, at + 0x38)
        pid, parent_pid, handle_count = struct.unpack_from("<QQI", raw, at + 0x50)
        (working_set,) = struct.unpack_from("<Q", raw, at + 0x90)
        operations = struct.unpack_from("<QQQ", raw, at + 0xD0)
        name_at = name_address - address
        is_inside = name_at > 0 and name_at + name_size <= len(raw)
        found.append(
            ProcessEntry(
                pid=pid,
                parent_pid=parent_pid,
                name=raw[name_at : name_at + name_size].decode("utf-16-le", "replace")
                if is_inside
                else "",
                create_time=create_time,
                user_time=user_time,
                kernel_time=kernel_time,
                handle_count=handle_count,
                working_set_bytes=working_set,
                io_operations=sum(operations),
                threads=_parse_threads(raw, at + _PROCESS_SIZE, thread_count),
            )
        )
        if next_at == 0:
            break
        at += next_at
    return found


def _parse_threads(raw: bytes, at: int, count: int) -> tuple[ThreadEntry, ...]:
    room = max(0, len(raw) - at) // _THREAD_SIZE
    entries = []
    for index in range(min(count, room)):
        start = at + index * _THREAD_SIZE
        (tid,) = struct.unpack_from("<Q", raw, start + 0x30)
        switches, state, reason = struct.unpack_from("<III", raw, start + 0x40)
        kernel_time, user_time = struct.unpack_from("<QQ", raw, start)
        cpu = kernel_time + user_time
        entries.append(ThreadEntry(tid, switches, state, reason, cpu))
    return tuple(entries)


def list_threads(pid: int) -> list[int]:
    """Thread ids of one process, as they are now."""
    forget_processes()
    entry = list_processes_now().get(pid)
    return [thread.tid for thread in entry.threads] if entry else []
