"""Which Windows this is, and whether it is Wine."""

from __future__ import annotations

import ctypes
import struct
import sys

assert sys.platform == "win32"

from perimortem.winapi import kernel32


def read_version() -> tuple[int, int, int]:
    """RtlGetVersion: the real one, regardless of our own manifest (OSVERSIONINFOW)."""
    buffer = ctypes.create_string_buffer(struct.pack("<I", 276), 276)
    kernel32.RtlGetVersion(buffer)
    major, minor, build = struct.unpack_from("<3I", buffer, 4)
    return major, minor, build


def read_wine_version() -> str | None:
    """None on Windows itself."""
    if kernel32.wine_get_version is None:
        return None
    return bytes(kernel32.wine_get_version()).decode("ascii", "replace")
