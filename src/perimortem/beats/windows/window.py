"""Does its window respond? Windows checks by sending a message that does nothing; so do we.

IsHungAppWindow has its own limit (5 s); a WM_NULL with a short time-out has ours.
"""

from __future__ import annotations

import ctypes
import sys
from collections.abc import Callable, Iterable
from ctypes import wintypes

assert sys.platform == "win32"

from perimortem.model.recording import Event, Heartbeat
from perimortem.text import printable
from perimortem.winapi.library import Library

_WM_NULL = 0
_SMTO_BLOCK, _SMTO_ABORTIFHUNG = 0x1, 0x2
_ANSWER_MS = 50
_WINDOWS_MAX = 4
_TITLE_MAX = 200

_user32 = Library("user32")
_ENUM_WINDOWS_PROC = ctypes.WINFUNCTYPE(wintypes.BOOL, wintypes.HWND, wintypes.LPARAM)
_EnumWindows = _user32.declare("EnumWindows", wintypes.BOOL, _ENUM_WINDOWS_PROC, wintypes.LPARAM)
_IsWindowVisible = _user32.declare("IsWindowVisible", wintypes.BOOL, wintypes.HWND)
_IsHungAppWindow = _user32.declare("IsHungAppWindow", wintypes.BOOL, wintypes.HWND)
_GetWindowTextW = _user32.declare(
    "GetWindowTextW", ctypes.c_int, wintypes.HWND, wintypes.LPWSTR, ctypes.c_int
)
_GetWindowThreadProcessId = _user32.declare(
    "GetWindowThreadProcessId", wintypes.DWORD, wintypes.HWND, ctypes.POINTER(wintypes.DWORD)
)
_SendMessageTimeoutW = _user32.declare(
    "SendMessageTimeoutW",
    wintypes.LPARAM,
    wintypes.HWND,
    wintypes.UINT,
    wintypes.WPARAM,
    wintypes.LPARAM,
    wintypes.UINT,
    wintypes.UINT,
    ctypes.POINTER(ctypes.c_size_t),
)


class Window:
    """The visible windows of these processes; it beats while all of them respond, or there is none."""

    name = "window"
    blind_spot = "threads without a window"
    warning = ""

    def __init__(self, pids: Callable[[], list[int]], now_ns: int) -> None:
        self._pids = pids
        self._beat_ns = now_ns
        self._beaten = False
        self._silent: str | None = None

    def heartbeats(self) -> tuple[Heartbeat, ...]:
        return (Heartbeat(self.name, self._beat_ns, self._beaten, None, 0, False),)

    def events(self) -> Iterable[Event]:
        return ()

    def observe(self, now_ns: int) -> None:
        """Each window has 50 ms to respond: the monitor waits no longer for any."""
        windows = find_windows(set(self._pids()))[:_WINDOWS_MAX]
        silent = next((window for window in windows if not does_answer(window)), None)
        if silent is None:
            self._beat_ns = now_ns
            self._beaten = self._beaten or bool(windows)
            self._silent = None
        else:
            self._silent = f"its window '{read_title(silent)}' did not answer"
            self._silent += " (Windows calls it hung, too)" if _IsHungAppWindow(silent) else ""

    def disregard(self, until_ns: int) -> None:
        return

    def facts(self) -> tuple[str, ...]:
        return (self._silent,) if self._silent else ()

    def close(self) -> None:
        return


def find_windows(pids: set[int]) -> list[int]:
    """Visible top-level windows of these processes."""
    found: list[int] = []

    def take(window: int, _parameter: int) -> int:
        pid = wintypes.DWORD()
        _GetWindowThreadProcessId(window, ctypes.byref(pid))
        if pid.value in pids and _IsWindowVisible(window):
            found.append(window)
        return 1

    _EnumWindows(_ENUM_WINDOWS_PROC(take), 0)
    return found


def does_answer(window: int) -> bool:
    """Whether its thread took a message that does nothing, in time."""
    answer = ctypes.c_size_t()
    how = _SMTO_BLOCK | _SMTO_ABORTIFHUNG
    return bool(_SendMessageTimeoutW(window, _WM_NULL, 0, 0, how, _ANSWER_MS, ctypes.byref(answer)))


def read_title(window: int) -> str:
    """Kept by the system: its thread is not queried."""
    buffer = ctypes.create_unicode_buffer(_TITLE_MAX)
    _GetWindowTextW(window, buffer, _TITLE_MAX)
    return printable(buffer.value)
