"""Our own terminal: a console, which supports escape codes only if enabled."""

from __future__ import annotations

import ctypes
import msvcrt
import sys

assert sys.platform == "win32"

from perimortem.winapi import kernel32

_ENABLE_VIRTUAL_TERMINAL_PROCESSING = 0x4


def accepts_codes(fd: int) -> bool:
    """Enable them; False if not possible (before Windows 10)."""
    handle = msvcrt.get_osfhandle(fd)
    mode = kernel32.DWORD()
    if not kernel32.GetConsoleMode(handle, ctypes.byref(mode)):
        return False
    wanted = mode.value | _ENABLE_VIRTUAL_TERMINAL_PROCESSING
    return bool(kernel32.SetConsoleMode(handle, wanted))
