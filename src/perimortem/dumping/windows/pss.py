"""A snapshot of a process (PssCaptureSnapshot, Windows 8.1): the target is paused for the clone only."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.model.dump import MinidumpType
from perimortem.winapi import kernel32
from perimortem.winapi.library import Library

# processsnapshot.h
_CAPTURE_VA_CLONE = 0x1
_CAPTURE_HANDLES = 0x4
_CAPTURE_HANDLE_NAME_INFORMATION = 0x8
_CAPTURE_HANDLE_BASIC_INFORMATION = 0x10
_CAPTURE_HANDLE_TYPE_SPECIFIC_INFORMATION = 0x20
_CAPTURE_HANDLE_TRACE = 0x40
_CAPTURE_THREADS = 0x80
_CAPTURE_THREAD_CONTEXT = 0x100
_CREATE_BREAKAWAY_OPTIONAL = 0x04000000
_CREATE_USE_VM_ALLOCATIONS = 0x20000000
_CREATE_RELEASE_SECTION = 0x80000000
_CONTEXT_ALL = 0x10001F

_kernel32 = Library("kernel32")
PssCaptureSnapshot = _kernel32.find(
    "PssCaptureSnapshot",
    wintypes.DWORD,
    wintypes.HANDLE,
    wintypes.DWORD,
    wintypes.DWORD,
    ctypes.POINTER(wintypes.HANDLE),
)
PssFreeSnapshot = _kernel32.find(
    "PssFreeSnapshot", wintypes.DWORD, wintypes.HANDLE, wintypes.HANDLE
)


def choose_flags(types: MinidumpType) -> int:
    """What the snapshot must include for these types."""
    flags = (
        _CAPTURE_VA_CLONE
        | _CAPTURE_THREADS
        | _CAPTURE_THREAD_CONTEXT
        | _CREATE_BREAKAWAY_OPTIONAL
        | _CREATE_USE_VM_ALLOCATIONS
        | _CREATE_RELEASE_SECTION
    )
    if types & MinidumpType.WITH_HANDLE_DATA:
        flags |= (
            _CAPTURE_HANDLES
            | _CAPTURE_HANDLE_NAME_INFORMATION
            | _CAPTURE_HANDLE_BASIC_INFORMATION
            | _CAPTURE_HANDLE_TYPE_SPECIFIC_INFORMATION
            | _CAPTURE_HANDLE_TRACE
        )
    return flags


@contextmanager
def take_snapshot(
    process: int,
    types: MinidumpType,
    capture: Callable[..., int] | None = PssCaptureSnapshot,
    free: Callable[..., int] | None = PssFreeSnapshot,
) -> Iterator[tuple[int | None, str]]:
    """(snapshot, ""), or (None, the reason); the process itself can be dumped then."""
    if capture is None or free is None:
        yield (
            None,
            "this Windows has no PssCaptureSnapshot: the target was paused for the whole dump",
        )
        return
    snapshot = wintypes.HANDLE()
    error = capture(process, choose_flags(types), _CONTEXT_ALL, ctypes.byref(snapshot))
    if error:
        yield (
            None,
            f"no snapshot could be taken (error {error}): the target was paused for the dump",
        )
        return
    try:
        yield snapshot.value, ""
    finally:
        free(kernel32.GetCurrentProcess(), snapshot)
