"""Toolhelp: all processes, and all threads, at one moment."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from dataclasses import dataclass

assert sys.platform == "win32"

from perimortem.winapi import kernel32
from perimortem.winapi.library import Function


@dataclass(frozen=True)
class ProcessEntry:
    """One process of the list. The parent may be gone, and its pid another's by now."""

    pid: int
    parent_pid: int
    name: str
    thread_count: int


def list_process_entries() -> list[ProcessEntry]:
    """Every process; empty when the system refuses."""
    entry = kernel32.PROCESSENTRY32W()
    entry.dwSize = ctypes.sizeof(entry)
    return [
        ProcessEntry(
            entry.th32ProcessID, entry.th32ParentProcessID, entry.szExeFile, entry.cntThreads
        )
        for _ in _walk(
            kernel32.TH32CS_SNAPPROCESS, kernel32.Process32FirstW, kernel32.Process32NextW, entry
        )
    ]


def list_threads(pid: int) -> list[int]:
    """Thread ids of one process."""
    entry = kernel32.THREADENTRY32()
    entry.dwSize = ctypes.sizeof(entry)
    return [
        entry.th32ThreadID
        for _ in _walk(
            kernel32.TH32CS_SNAPTHREAD, kernel32.Thread32First, kernel32.Thread32Next, entry
        )
        if entry.th32OwnerProcessID == pid
    ]


def _walk(kind: int, first: Function, then: Function, entry: ctypes.Structure) -> Iterator[None]:
    """``entry`` is filled anew for each step."""
    snapshot = kernel32.CreateToolhelp32Snapshot(kind, 0)
    if snapshot == kernel32.INVALID_HANDLE_VALUE:
        return
    try:
        has_one = first(snapshot, ctypes.byref(entry))
        while has_one:
            yield
            has_one = then(snapshot, ctypes.byref(entry))
    finally:
        kernel32.CloseHandle(snapshot)
