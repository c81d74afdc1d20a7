"""The Application event log of the last minutes (wevtapi)."""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Iterator
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.exits.wer import APPLICATION_ERROR, APPLICATION_HANG
from perimortem.winapi.library import Library, describe_error, last_error

_QUERY_CHANNEL_PATH, _QUERY_REVERSE = 0x1, 0x200
_RENDER_EVENT_XML = 1
_EVENTS_MAX = 64
_TIMEOUT_MS = 200
_RENDER_BYTES = 128 << 10

_wevtapi = Library("wevtapi")
_EvtQuery = _wevtapi.declare(
    "EvtQuery",
    wintypes.HANDLE,
    wintypes.HANDLE,
    wintypes.LPCWSTR,
    wintypes.LPCWSTR,
    wintypes.DWORD,
)
_EvtNext = _wevtapi.declare(
    "EvtNext",
    wintypes.BOOL,
    wintypes.HANDLE,
    wintypes.DWORD,
    ctypes.POINTER(wintypes.HANDLE),
    wintypes.DWORD,
    wintypes.DWORD,
    ctypes.POINTER(wintypes.DWORD),
)
_EvtRender = _wevtapi.declare(
    "EvtRender",
    wintypes.BOOL,
    wintypes.HANDLE,
    wintypes.HANDLE,
    wintypes.DWORD,
    wintypes.DWORD,
    ctypes.c_void_p,
    ctypes.POINTER(wintypes.DWORD),
    ctypes.POINTER(wintypes.DWORD),
)
_EvtClose = _wevtapi.declare("EvtClose", wintypes.BOOL, wintypes.HANDLE)


def read_application_events(last_ms: int) -> Iterator[str]:
    """XML of errors and hangs, newest first. Raises OSError if the log cannot be read."""
    query = (
        f"*[System[(EventID={APPLICATION_ERROR} or EventID={APPLICATION_HANG}) and "
        "Provider[@Name='Application Error' or @Name='Application Hang'] and "
        f"TimeCreated[timediff(@SystemTime) <= {last_ms}]]]"
    )
    results = _EvtQuery(None, "Application", query, _QUERY_CHANNEL_PATH | _QUERY_REVERSE)
    if not results:
        error = last_error()
        raise OSError(describe_error(error) if error else "EvtQuery gives nothing here")
    try:
        for _ in range(_EVENTS_MAX):
            event, count = wintypes.HANDLE(), wintypes.DWORD()
            if not _EvtNext(results, 1, ctypes.byref(event), _TIMEOUT_MS, 0, ctypes.byref(count)):
                return
            try:
                yield _render(event)
            finally:
                _EvtClose(event)
    finally:
        _EvtClose(results)


def try_event_log() -> str:
    """Why it cannot be read; empty if it can."""
    try:
        next(read_application_events(1), None)
    except OSError as error:
        return str(error)
    return ""


def _render(event: wintypes.HANDLE) -> str:
    buffer = ctypes.create_string_buffer(_RENDER_BYTES)
    used, properties = wintypes.DWORD(), wintypes.DWORD()
    ok = _EvtRender(
        None,
        event,
        _RENDER_EVENT_XML,
        _RENDER_BYTES,
        buffer,
        ctypes.byref(used),
        ctypes.byref(properties),
    )
    return buffer.raw[: used.value].decode("utf-16-le", "replace").rstrip("\0") if ok else ""
